//! A guest's stdout and stderr into its container's log, and the stdin of one that nobody is attached to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wherry_runtime::{LogSink, StdStream};

/// How much one write may hold.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// One of a container's output streams.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) sink: Arc<dyn LogSink>,
    pub(crate) stream: StdStream,
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.sink.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.sink.write(self.stream, buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// `stdin: true` without anybody attached: silent until the container is stopped, and at its end from then on.
#[derive(Clone)]
pub(crate) struct Unattached(pub(crate) CancellationToken);

/// The same to read from.
struct Silence(Pin<Box<WaitForCancellationFutureOwned>>);

impl IsTerminal for Unattached {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Unattached {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(Silence(Box::pin(self.0.clone().cancelled_owned())))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl InputStream for Unattached {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        if self.0.is_cancelled() { Err(StreamError::Closed) } else { Ok(Bytes::new()) }
    }
}

#[async_trait]
impl Pollable for Unattached {
    async fn ready(&mut self) {
        self.0.cancelled().await;
    }
}

impl AsyncRead for Silence {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll(context).map(Ok)
    }
}
