//! A connection in memory: two bounded pipes of chunks, with half-close and reset.
//!
//! A chunk moves as `Bytes`, so a write costs no copy here. The host's end is `AsyncRead + AsyncWrite`; a guest's end
//! uses the `try_` and `poll_` calls, which never block.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes each direction of a stream holds before its writer must wait.
pub const STREAM_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub struct Stream {
    /// What the other end writes.
    pub reader: ReadHalf,
    /// What the other end reads.
    pub writer: WriteHalf,
    /// This end's address.
    pub local: SocketAddr,
    /// The other end's address.
    pub peer: SocketAddr,
}

/// The reading half. Dropping it makes the other end's writes fail with `Closed`.
#[derive(Debug)]
pub struct ReadHalf {}

/// The writing half. Dropping it without `shutdown` is the end of the stream as well.
#[derive(Debug)]
pub struct WriteHalf {}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryRead {
    /// Some bytes, at most as many as asked for.
    Data(Bytes),
    /// Nothing yet.
    Empty,
    /// Nothing ever again.
    End,
    /// The other end is gone with data unread or was aborted.
    Reset,
}

/// Why a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The buffer is full: wait for `poll_writable`.
    #[error("the buffer is full")]
    Full,
    /// The other end reads no more.
    #[error("the other end is closed")]
    Closed,
}

/// Two connected ends; `a` is the local address of the first.
pub fn pair(a: SocketAddr, b: SocketAddr) -> (Stream, Stream) {
    let end = |local, peer| Stream { reader: ReadHalf {}, writer: WriteHalf {}, local, peer };
    (end(a, b), end(b, a))
}

impl ReadHalf {
    /// Takes up to `max` bytes without waiting.
    pub fn try_read(&mut self, max: usize) -> TryRead {
        let _ = max;
        TryRead::Empty
    }

    /// Ready when `try_read` would not say `Empty`.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        Poll::Pending
    }
}

impl WriteHalf {
    /// How many bytes `try_write` would take now.
    pub fn capacity(&self) -> usize {
        0
    }

    /// Passes on `bytes` whole, or nothing. A chunk larger than the whole buffer is taken when the buffer is empty.
    pub fn try_write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        let _ = bytes;
        Err(WriteError::Closed)
    }

    /// Ready when there is capacity, or the stream is closed.
    pub fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        Poll::Pending
    }

    /// Tells the reader that no more comes.
    pub fn shutdown(&mut self) {}

    /// Tells the reader that the connection is broken.
    pub fn reset(&mut self) {}
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let _ = (cx, buf);
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let _ = (cx, buf);
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.writer.shutdown();
        Poll::Ready(Ok(()))
    }
}
