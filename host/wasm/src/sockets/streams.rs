//! The two halves of a connection as `wasi:io` streams.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wherry_vnet::{ReadHalf, TryRead, WriteError, WriteHalf};

/// A half that the socket itself can still shut down. `None` once it is.
pub(super) type Shared<Half> = Arc<Mutex<Option<Half>>>;

/// What a guest reads.
pub(super) struct VReader(pub(super) Shared<ReadHalf>);

/// What a guest writes.
pub(super) struct VWriter(pub(super) Shared<WriteHalf>);

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InputStream for VReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut half = lock(&self.0);
        let Some(half) = half.as_mut() else { return Err(StreamError::Closed) };
        match half.try_read(size) {
            TryRead::Data(bytes) => Ok(bytes),
            TryRead::Empty => Ok(Bytes::new()),
            TryRead::End => Err(StreamError::Closed),
            TryRead::Reset => Err(StreamError::LastOperationFailed(wasmtime::format_err!("connection reset by peer"))),
        }
    }
}

#[async_trait]
impl Pollable for VReader {
    async fn ready(&mut self) {
        poll_fn(|cx| match lock(&self.0).as_mut() {
            Some(half) => half.poll_readable(cx),
            None => std::task::Poll::Ready(()),
        })
        .await;
    }
}

impl OutputStream for VWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut half = lock(&self.0);
        let Some(half) = half.as_mut() else { return Err(StreamError::Closed) };
        match half.try_write(bytes) {
            Ok(()) => Ok(()),
            Err(WriteError::Closed) => Err(StreamError::Closed),
            Err(WriteError::Full) => Err(StreamError::trap("write exceeded the budget that check_write gave")),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut half = lock(&self.0);
        let Some(half) = half.as_mut() else { return Err(StreamError::Closed) };
        match half.capacity() {
            0 if is_closed(half) => Err(StreamError::Closed),
            capacity => Ok(capacity),
        }
    }
}

/// A writer without capacity that is ready all the same has nobody to read.
fn is_closed(half: &mut WriteHalf) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    half.poll_writable(&mut context).is_ready() && half.capacity() == 0
}

#[async_trait]
impl Pollable for VWriter {
    async fn ready(&mut self) {
        poll_fn(|cx| match lock(&self.0).as_mut() {
            Some(half) => half.poll_writable(cx),
            None => std::task::Poll::Ready(()),
        })
        .await;
    }
}
