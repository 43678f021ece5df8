//! The stdin of a container that has one (`stdin: true`): silent until somebody attaches, and at its end once the container is
//! stopped or who attached was to be the only one.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, PollSender, WaitForCancellationFutureOwned};
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// How many chunks wait for the guest; then who writes waits.
const CHUNKS_MAX: usize = 4;
/// The largest chunk, in bytes.
const CHUNK_BYTES_MAX: usize = 16 << 10;

/// What is typed for a container.
pub(crate) struct Input {
    /// `None`: nobody may type any more.
    typed: Mutex<Option<mpsc::Sender<Bytes>>>,
    source: Mutex<Source>,
}

/// What the guest has not read yet.
struct Source {
    chunks: mpsc::Receiver<Bytes>,
    front: Bytes,
}

impl Input {
    pub(crate) fn new() -> Arc<Self> {
        let (typed, chunks) = mpsc::channel(CHUNKS_MAX);
        let source = Mutex::new(Source { chunks, front: Bytes::new() });
        Arc::new(Self { typed: Mutex::new(Some(typed)), source })
    }

    /// A way for somebody to type; `once`: when it is dropped, the input ends.
    pub(crate) fn writer(self: &Arc<Self>, once: bool) -> Option<Writer> {
        let typed = locked(&self.typed).clone()?;
        Some(Writer { typed: PollSender::new(typed), ends: once.then(|| Arc::clone(self)) })
    }

    /// Nobody types any more: what is typed already can still be read.
    pub(crate) fn close(&self) {
        drop(locked(&self.typed).take());
    }
}

impl Source {
    /// Ready where there is something, or never will be: an empty front is the end.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.front.is_empty()
            && let Some(chunk) = ready!(self.chunks.poll_recv(cx))
        {
            self.front = chunk;
        }
        Poll::Ready(())
    }

    fn take(&mut self, bytes_max: usize) -> Bytes {
        let count = self.front.len().min(bytes_max);
        self.front.split_to(count)
    }
}

/// Who types.
pub(crate) struct Writer {
    typed: PollSender<Bytes>,
    /// What ends with this.
    ends: Option<Arc<Input>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.typed.poll_reserve(cx)).map_err(closed)?;
        let chunk = buf.get(..CHUNK_BYTES_MAX).unwrap_or(buf);
        self.typed.send_item(Bytes::copy_from_slice(chunk)).map_err(closed)?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.typed.close();
        self.ends.take().iter().for_each(|input| input.close());
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.take().iter().for_each(|input| input.close());
    }
}

/// The guest's end. All streams of a guest read the same input.
#[derive(Clone)]
pub(crate) struct Stdin {
    pub(crate) input: Arc<Input>,
    pub(crate) stopping: CancellationToken,
    pub(crate) is_terminal: bool,
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        let stopped = Box::pin(self.stopping.clone().cancelled_owned());
        Box::new(Reading { input: Arc::clone(&self.input), stopped })
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl InputStream for Stdin {
    fn read(&mut self, bytes_max: usize) -> StreamResult<Bytes> {
        let mut source = locked(&self.input.source);
        if source.front.is_empty() {
            match source.chunks.try_recv() {
                Ok(chunk) => source.front = chunk,
                Err(mpsc::error::TryRecvError::Empty) if !self.stopping.is_cancelled() => return Ok(Bytes::new()),
                Err(_) => return Err(StreamError::Closed),
            }
        }
        Ok(source.take(bytes_max))
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        let typed = poll_fn(|cx| locked(&self.input.source).poll_front(cx));
        tokio::select! {
            () = typed => {}
            () = self.stopping.cancelled() => {}
        }
    }
}

/// The same as a stream that is awaited.
struct Reading {
    input: Arc<Input>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut source = locked(&self.input.source);
        if source.poll_front(cx).is_ready() {
            buf.put_slice(&source.take(buf.remaining()));
            return Poll::Ready(Ok(()));
        }
        drop(source);
        self.stopped.as_mut().poll(cx).map(Ok)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn one_after_the_other_types_until_the_only_one_has() {
        let input = Input::new();
        let stdin = Stdin { input: Arc::clone(&input), stopping: CancellationToken::new(), is_terminal: false };
        let mut reading = Box::into_pin(stdin.async_stream());
        for (text, once) in [("first ", false), ("second", true)] {
            let mut writer = input.writer(once).unwrap();
            writer.write_all(text.as_bytes()).await.unwrap();
            writer.shutdown().await.unwrap();
        }
        assert!(input.writer(false).is_none());
        let mut text = String::new();
        reading.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "first second");
    }

    #[tokio::test]
    async fn a_guest_that_waits_is_woken_by_what_is_typed_or_by_its_stop() {
        let (input, stopping) = (Input::new(), CancellationToken::new());
        let mut stdin = Stdin { input: Arc::clone(&input), stopping: stopping.clone(), is_terminal: false };
        assert_eq!(stdin.read(8).unwrap(), "", "silent");
        let mut writer = input.writer(false).unwrap();
        let typing = async { writer.write_all(b"typed").await.unwrap() };
        futures::join!(stdin.ready(), typing);
        assert_eq!((stdin.read(2).unwrap(), stdin.read(8).unwrap()), ("ty".into(), "ped".into()));
        stopping.cancel();
        stdin.ready().await;
        assert!(matches!(stdin.read(8), Err(StreamError::Closed)));
    }
}
