//! The terminal of a container that has one (`tty: true`): a pseudo-terminal whose other side is the guest's stdin, stdout and
//! stderr. The kernel echoes, edits lines and hands over whole ones; what it shows goes to the log and to all who are attached.
//!
//! Has no task: `serve` carries everything, beside the guest. A client that falls behind loses what it does not take in time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, AsyncWriteExt, Interest};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wherry_runtime::{AttachSpec, Attached, Exit, ExitReason, LogSink, Process, StdStream, Terminal, TerminalSize};

use crate::stdin::Input;

/// How much is read, or written by a guest, at once, in bytes.
const CHUNK_BYTES_MAX: usize = 4096;
/// How many chunks wait for somebody who is attached.
const CHUNKS_MAX: usize = 256;
/// What ^C types.
const INTERRUPT: u8 = 3;
/// 128 + SIGINT.
const INTERRUPTED_CODE: i32 = 130;

/// A container's terminal.
pub(crate) struct Tty {
    master: AsyncFd<OwnedFd>,
    slave: AsyncFd<OwnedFd>,
    /// The guest's stdin, if it has one, and whether who types first is the only one.
    input: Option<(Arc<Input>, bool)>,
    logs: Arc<dyn LogSink>,
    shown: broadcast::Sender<Bytes>,
    /// Cancelled by ^C.
    interrupted: CancellationToken,
    /// Cancelled when the guest is no more, and all that it has shown was told.
    over: CancellationToken,
}

impl Tty {
    /// Takes a terminal; the present async runtime watches it.
    pub(crate) fn new(
        Terminal { master, slave }: Terminal,
        input: Option<(Arc<Input>, bool)>,
        logs: Arc<dyn LogSink>,
    ) -> io::Result<Arc<Self>> {
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(Arc::new(Self {
            master: wherry_base::watched(master, both)?,
            slave: wherry_base::watched(slave, both)?,
            input,
            logs,
            shown: broadcast::Sender::new(CHUNKS_MAX),
            interrupted: CancellationToken::new(),
            over: CancellationToken::new(),
        }))
    }

    /// Runs `guest` at the terminal. ^C ends it as SIGINT ends a program that does not handle it: WASI has no signals.
    pub(crate) async fn serve(&self, guest: impl Future<Output = Exit>) -> Exit {
        let _over = self.over.clone().drop_guard();
        let exit = tokio::select! {
            exit = guest => exit,
            never = self.hand_over() => match never {},
            never = self.follow() => match never {},
            () = self.interrupted.cancelled() => interrupted(),
        };
        let mut now = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(chunk)) = poll_read(&self.master, &mut now)
            && !chunk.is_empty()
        {
            self.show(chunk);
        }
        exit
    }

    /// Lines for the guest, until it is told that there are no more (^D).
    async fn hand_over(&self) -> Infallible {
        if let Some(mut guest) = self.input.as_ref().and_then(|(input, _)| input.writer(true)) {
            while let Ok(line) = poll_fn(|cx| poll_read(&self.slave, cx)).await
                && !line.is_empty()
                && guest.write_all(&line).await.is_ok()
            {}
        }
        std::future::pending().await
    }

    /// All that the terminal shows.
    async fn follow(&self) -> Infallible {
        while let Ok(chunk) = poll_fn(|cx| poll_read(&self.master, cx)).await {
            self.show(chunk);
        }
        std::future::pending().await
    }

    fn show(&self, chunk: Bytes) {
        self.logs.write(StdStream::Out, &chunk);
        let _nobody_is_attached = self.shown.send(chunk);
    }

    /// Joins somebody to it.
    pub(crate) fn attach(self: &Arc<Self>, spec: AttachSpec) -> Attached {
        let once = self.input.as_ref().is_some_and(|(_, once)| *once);
        let stdin = if spec.stdin { self.typing(once) } else { None };
        Attached { stdin, output: self.output(), process: Arc::clone(self) as _ }
    }

    /// A way to type, whose end is that of the input where who types is to be the only one (`once`).
    pub(crate) fn typing(self: &Arc<Self>, once: bool) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        let (input, _) = self.input.as_ref()?;
        Some(Box::pin(Typing { tty: Arc::clone(self), ends: once.then(|| Arc::clone(input)) }))
    }

    /// For the record: WASI has no way to ask for it.
    pub(crate) fn set_size(&self, TerminalSize { width, height }: TerminalSize) {
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        let _the_old_size_stays = rustix::termios::tcsetwinsize(self.master.get_ref(), size);
    }

    fn output(&self) -> BoxStream<'static, io::Result<(StdStream, Bytes)>> {
        let (shown, over) = (self.shown.subscribe(), self.over.clone());
        let next = |(mut shown, over): (broadcast::Receiver<Bytes>, CancellationToken)| async move {
            loop {
                let chunk = tokio::select! {
                    biased;
                    chunk = shown.recv() => chunk,
                    () = over.cancelled() => return None,
                };
                match chunk {
                    Ok(chunk) => return Some((Ok((StdStream::Out, chunk)), (shown, over))),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        futures::stream::unfold((shown, over), next).boxed()
    }
}

#[async_trait]
impl Process for Tty {
    async fn exited(&self) -> io::Result<i32> {
        // Whoever attaches hears of the container's end by the end of its output.
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn resize(&self, size: TerminalSize) {
        self.set_size(size);
    }
}

/// Who types at a terminal.
struct Typing {
    tty: Arc<Tty>,
    /// What ends with this.
    ends: Option<Arc<Input>>,
}

impl AsyncWrite for Typing {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, typed: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(poll_write(&self.tty.master, cx, typed))?;
        if typed.get(..written).is_some_and(|typed| typed.contains(&INTERRUPT)) {
            self.tty.interrupted.cancel();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ends.take().iter().for_each(|input| input.close());
        Poll::Ready(Ok(()))
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        self.ends.take().iter().for_each(|input| input.close());
    }
}

/// A guest's stdout and stderr at its terminal.
pub(crate) struct Screen {
    tty: Arc<Tty>,
    /// What the terminal has not taken yet.
    left: Bytes,
}

impl Screen {
    pub(crate) const fn new(tty: Arc<Tty>) -> Self {
        Self { tty, left: Bytes::new() }
    }

    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.left.is_empty() {
            match ready!(poll_write(&self.tty.slave, cx, &self.left)) {
                Ok(written) => self.left.advance(written),
                Err(_) => self.left.clear(),
            }
        }
        Poll::Ready(())
    }
}

impl IsTerminal for Screen {
    fn is_terminal(&self) -> bool {
        true
    }
}

impl StdoutStream for Screen {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Self::new(Arc::clone(&self.tty)))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self::new(Arc::clone(&self.tty)))
    }
}

impl OutputStream for Screen {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.left = bytes;
        let _the_rest_later = self.poll_empty(&mut Context::from_waker(Waker::noop()));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let taken = self.poll_empty(&mut Context::from_waker(Waker::noop())).is_ready();
        Ok(if taken { CHUNK_BYTES_MAX } else { 0 })
    }
}

#[async_trait]
impl Pollable for Screen {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_empty(cx)).await;
    }
}

impl AsyncWrite for Screen {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        poll_write(&self.tty.slave, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What there is to be read; for the guest, nothing is the end of the input (^D).
fn poll_read(side: &AsyncFd<OwnedFd>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut buffer = [0; CHUNK_BYTES_MAX];
    loop {
        let mut guard = ready!(side.poll_read_ready(cx))?;
        if let Ok(read) = guard.try_io(|side| Ok(rustix::io::read(side, &mut buffer)?)) {
            return Poll::Ready(read.map(|count| Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default())));
        }
    }
}

fn poll_write(side: &AsyncFd<OwnedFd>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        let mut guard = ready!(side.poll_write_ready(cx))?;
        if let Ok(written) = guard.try_io(|side| Ok(rustix::io::write(side, bytes)?)) {
            return Poll::Ready(written);
        }
    }
}

fn interrupted() -> Exit {
    Exit { code: INTERRUPTED_CODE, reason: ExitReason::Error, message: "interrupted (^C)".to_owned() }
}
