//! A connection's end that is a kernel socket: the other end is in another process, or in the world.
//!
//! Reads and writes go through readiness, never block, and are the same for Unix and TCP sockets.
//!
//! A Unix socket that is watched for room wakes its owner each time that the other end has read something, wanted or not.
//! So a socket is watched for room only once it had none: most, with small requests and answers, never are.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::buffer::{Buffer, spare_capacity};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};
use wherry_base::Drain;

use crate::stream::{TryRead, WriteError};

/// How much one read takes at most, and how much a writer may hand over at once.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// How long bytes that were accepted for sending may outlive their writer.
const LINGER_MAX: Duration = Duration::from_secs(60);

/// A connected stream socket, shared by its two halves.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Watched for something to read.
    fd: AsyncFd<OwnedFd>,
    /// The same socket, watched for room, once a write has found none.
    room: OnceLock<AsyncFd<OwnedFd>>,
    tasks: Drain,
}

/// Two connected stream sockets, which do not block.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

impl Socket {
    /// Takes a connected stream socket. `tasks` owns what must be sent after the writer is gone.
    pub(crate) fn new(fd: OwnedFd, tasks: Drain) -> io::Result<Arc<Self>> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let fd = wherry_base::watched(fd, Interest::READABLE)?;
        Ok(Arc::new(Self { fd, room: OnceLock::new(), tasks }))
    }

    pub(crate) fn try_read(&self, max: usize) -> TryRead {
        let mut chunk = Vec::with_capacity(max.min(CHUNK_BYTES_MAX));
        match self.read(spare_capacity(&mut chunk)) {
            Ok(0) => TryRead::End,
            Ok(_) => TryRead::Data(chunk.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => TryRead::Empty,
            Err(_) => TryRead::Reset,
        }
    }

    pub(crate) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(context))?;
            let room = buffer.remaining();
            // SAFETY: what is there is written by `recv` only, which takes no byte's initialization back.
            match self.read(unsafe { buffer.unfilled_mut() }) {
                Ok(length) => {
                    // All that was there is taken: to ask once more only to hear so would cost as much as the read did.
                    // An end is not forgotten by this, nor what has come meanwhile.
                    if 0 < length && length < room {
                        ready.clear_ready();
                    }
                    // SAFETY: `recv` has written so many bytes.
                    unsafe { buffer.assume_init(length) };
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let _error_is_read_later = ready!(self.fd.poll_read_ready(context)).map(|mut guard| guard.retain_ready());
        Poll::Ready(())
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(room) = self.room.get() {
            let _error_is_met_later = ready!(room.poll_write_ready(context)).map(|mut guard| guard.retain_ready());
        }
        Poll::Ready(())
    }

    /// Sends what fits now of `bytes` and takes it off; all, some or nothing.
    pub(crate) fn send(&self, bytes: &mut Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(sent) => bytes.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(WriteError::Closed),
            }
        }
        Ok(())
    }

    /// Nothing more is written, once `unsent` is.
    pub(crate) fn finish(self: &Arc<Self>, unsent: Bytes) {
        if unsent.is_empty() {
            return self.shutdown(Shutdown::Write);
        }
        let socket = Arc::clone(self);
        self.tasks.spawn(async move {
            let _late_or_closed = tokio::time::timeout(LINGER_MAX, socket.send_all(unsent)).await;
            socket.shutdown(Shutdown::Write);
        });
    }

    /// Nothing more is read: the other end's writes fail.
    pub(crate) fn leave(&self) {
        self.shutdown(Shutdown::Read);
    }

    /// Breaks the connection for both ends.
    pub(crate) fn abort(&self) {
        self.shutdown(Shutdown::Both);
    }

    async fn send_all(&self, mut unsent: Bytes) {
        while !unsent.is_empty() {
            std::future::poll_fn(|context| self.poll_writable(context)).await;
            if self.send(&mut unsent).is_err() {
                return;
            }
        }
    }

    fn read(&self, buffer: impl Buffer<u8>) -> io::Result<usize> {
        self.fd.try_io(Interest::READABLE, |fd| Ok(rustix::net::recv(fd.as_fd(), buffer, RecvFlags::DONTWAIT)?.1))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let send = |fd: &OwnedFd| Ok(rustix::net::send(fd.as_fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?);
        let Some(room) = self.room.get() else {
            let sent: io::Result<usize> = send(self.fd.get_ref());
            if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                self.watch_for_room()?;
            }
            return sent;
        };
        room.try_io(Interest::WRITABLE, send)
    }

    fn watch_for_room(&self) -> io::Result<()> {
        let again = self.fd.get_ref().try_clone()?;
        let _by_another_thread = self.room.set(wherry_base::watched(again, Interest::WRITABLE)?);
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) {
        // Fails where the other end is gone, which is what was wanted.
        let _gone = rustix::net::shutdown(self.fd.get_ref(), how);
    }
}
