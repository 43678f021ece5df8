//! A connection: in memory two bounded pipes of chunks, with half-close and reset; to another process a socket.
//!
//! In memory a chunk moves as `Bytes`, so a write costs no copy here. The host's end is `AsyncRead + AsyncWrite`; a
//! guest's end uses the `try_` and `poll_` calls, which never block. Data that was written before a reset is still
//! read, as kernels do it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wherry_base::Drain;

use crate::pipe::{End, Pipe, Reader};
use crate::socket::{CHUNK_BYTES_MAX, Socket};

pub use crate::pipe::STREAM_BUFFER_BYTES_MAX;

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
pub struct ReadHalf {
    source: Source,
    /// The rest of a chunk that a smaller read took a part of.
    front: Bytes,
}

#[derive(Debug)]
enum Source {
    Memory(Arc<Connection>, Side),
    Socket(Arc<Socket>),
}

/// The writing half. Dropping it without `shutdown` is the end of the stream as well.
#[derive(Debug)]
pub struct WriteHalf {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Memory(Arc<Connection>, Side),
    /// What was taken and does not fit into the socket yet is kept; while there is some, there is no capacity.
    Socket(Arc<Socket>, Bytes),
}

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

#[derive(Clone, Copy, Debug)]
enum Side {
    First,
    Second,
}

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    to_second: Pipe,
    to_first: Pipe,
}

/// A connection's handle that does not keep it alive, for its owner to abort it by.
#[derive(Debug)]
pub(crate) enum Handle {
    Memory(Weak<Connection>),
    Socket(Weak<Socket>),
}

impl Handle {
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Memory(connection) => connection.strong_count() == 0,
            Self::Socket(socket) => socket.strong_count() == 0,
        }
    }

    /// Breaks the connection for both ends.
    pub(crate) fn abort(&self) {
        match self {
            Self::Memory(connection) => connection.upgrade().iter().for_each(|connection| connection.abort()),
            Self::Socket(socket) => socket.upgrade().iter().for_each(|socket| socket.abort()),
        }
    }
}

/// Two connected ends; `a` is the local address of the first.
pub fn pair(a: SocketAddr, b: SocketAddr) -> (Stream, Stream) {
    let connection = Arc::new(Connection::default());
    (Stream::new(&connection, Side::First, a, b), Stream::new(&connection, Side::Second, b, a))
}

impl Connection {
    /// Breaks the connection for both ends.
    pub(crate) fn abort(&self) {
        self.to_first.abort();
        self.to_second.abort();
    }

    const fn from(&self, side: Side) -> &Pipe {
        match side {
            Side::First => &self.to_second,
            Side::Second => &self.to_first,
        }
    }

    const fn to(&self, side: Side) -> &Pipe {
        match side {
            Side::First => &self.to_first,
            Side::Second => &self.to_second,
        }
    }
}

impl Stream {
    fn new(connection: &Arc<Connection>, side: Side, local: SocketAddr, peer: SocketAddr) -> Self {
        let reader = ReadHalf { source: Source::Memory(Arc::clone(connection), side), front: Bytes::new() };
        Self { reader, writer: WriteHalf { sink: Sink::Memory(Arc::clone(connection), side) }, local, peer }
    }

    /// The end of a connection to another process: a connected stream socket, Unix or TCP. `tasks` owns what is left to
    /// send when the writer is dropped.
    pub fn from_socket(fd: OwnedFd, local: SocketAddr, peer: SocketAddr, tasks: &Drain) -> io::Result<Self> {
        let socket = Socket::new(fd, tasks.clone())?;
        let reader = ReadHalf { source: Source::Socket(Arc::clone(&socket)), front: Bytes::new() };
        Ok(Self { reader, writer: WriteHalf { sink: Sink::Socket(socket, Bytes::new()) }, local, peer })
    }

    pub(crate) fn handle(&self) -> Handle {
        match &self.writer.sink {
            Sink::Memory(connection, _) => Handle::Memory(Arc::downgrade(connection)),
            Sink::Socket(socket, _) => Handle::Socket(Arc::downgrade(socket)),
        }
    }

    /// Breaks the connection for both ends.
    pub fn abort(&self) {
        self.handle().abort();
    }
}

impl ReadHalf {
    /// Takes up to `max` bytes without waiting.
    pub fn try_read(&mut self, max: usize) -> TryRead {
        if self.front.is_empty() {
            match &self.source {
                Source::Socket(socket) => return socket.try_read(max),
                Source::Memory(connection, side) => match connection.to(*side).pop() {
                    Ok(chunk) => self.front = chunk,
                    Err(End::Open) => return TryRead::Empty,
                    Err(End::Finished) => return TryRead::End,
                    Err(End::Reset) => return TryRead::Reset,
                },
            }
        }
        TryRead::Data(self.front.split_to(max.min(self.front.len())))
    }

    /// Ready when `try_read` would not say `Empty`.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.front.is_empty() {
            return Poll::Ready(());
        }
        match &self.source {
            Source::Memory(connection, side) => connection.to(*side).poll_readable(context),
            Source::Socket(socket) => socket.poll_readable(context),
        }
    }
}

impl WriteHalf {
    /// How many bytes `try_write` would take now.
    pub fn capacity(&self) -> usize {
        match &self.sink {
            Sink::Memory(connection, side) => connection.from(*side).capacity(),
            Sink::Socket(_, unsent) => {
                if unsent.is_empty() {
                    CHUNK_BYTES_MAX
                } else {
                    0
                }
            }
        }
    }

    /// Passes on `bytes` whole, or nothing. A chunk larger than the whole buffer is taken when the buffer is empty.
    pub fn try_write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        match &mut self.sink {
            Sink::Memory(connection, side) => connection.from(*side).push(bytes),
            Sink::Socket(_, unsent) if !unsent.is_empty() => Err(WriteError::Full),
            Sink::Socket(socket, unsent) => {
                *unsent = bytes;
                socket.send(unsent)
            }
        }
    }

    /// Ready when there is capacity, or the stream is closed.
    pub fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.sink {
            Sink::Memory(connection, side) => connection.from(*side).poll_writable(context),
            Sink::Socket(socket, unsent) => loop {
                ready!(socket.poll_writable(context));
                if unsent.is_empty() {
                    return Poll::Ready(());
                }
                if socket.send(unsent).is_err() {
                    unsent.clear();
                }
            },
        }
    }

    /// Tells the reader that no more comes.
    pub fn shutdown(&mut self) {
        match &mut self.sink {
            Sink::Memory(connection, side) => connection.from(*side).end(End::Finished),
            Sink::Socket(socket, unsent) => socket.finish(std::mem::take(unsent)),
        }
    }

    /// Tells the reader that the connection is broken.
    pub fn reset(&mut self) {
        match &self.sink {
            Sink::Memory(connection, side) => connection.from(*side).end(End::Reset),
            Sink::Socket(socket, _) => socket.abort(),
        }
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_writable(context));
        match self.capacity() {
            0 => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            room => Poll::Ready(Ok(room)),
        }
    }

    fn write_now(&mut self, bytes: Bytes) -> io::Result<usize> {
        let length = bytes.len();
        match self.try_write(bytes) {
            Ok(()) => Ok(length),
            Err(WriteError::Full | WriteError::Closed) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        match &self.source {
            Source::Memory(connection, side) => connection.to(*side).leave(!self.front.is_empty()),
            Source::Socket(socket) => socket.leave(),
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if let Sink::Memory(connection, side) = &self.sink
            && connection.to(*side).reader() == Reader::GoneWithDataUnread
        {
            return connection.from(*side).end(End::Reset);
        }
        self.shutdown();
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Source::Socket(socket) = &self.source
            && self.front.is_empty()
        {
            return socket.poll_read(cx, buf);
        }
        ready!(self.poll_readable(cx));
        match self.try_read(buf.remaining()) {
            TryRead::Data(bytes) => buf.put_slice(&bytes),
            TryRead::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            TryRead::End | TryRead::Empty => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(cx))?;
        let part = buf.get(..room).unwrap_or(buf);
        Poll::Ready(self.write_now(Bytes::copy_from_slice(part)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut room = ready!(self.poll_room(cx))?;
        let mut joined = BytesMut::with_capacity(room.min(wanted));
        for buf in bufs {
            let part = buf.get(..room).unwrap_or(buf);
            joined.extend_from_slice(part);
            room -= part.len();
        }
        Poll::Ready(self.write_now(joined.freeze()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.sink {
            Sink::Socket(_, unsent) if !unsent.is_empty() => self.poll_writable(cx).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.shutdown();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
