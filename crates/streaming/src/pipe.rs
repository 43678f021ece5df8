//! One direction of one stream: chunks that were read from the connection and wait for their reader, and chunks that wait for
//! the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// The largest chunk that a stream carries at once, in bytes.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// How many chunks wait for a stream's reader; then the whole connection waits for it.
const UNREAD_CHUNKS_MAX: usize = 8;

/// The end of a stream that is read. Its end is the end of the stream, or of the connection.
pub struct Reader {
    chunks: mpsc::Receiver<Bytes>,
    front: Bytes,
}

/// A reader, and where what it reads is put.
pub(crate) fn reader() -> (mpsc::Sender<Bytes>, Reader) {
    let (sender, chunks) = mpsc::channel(UNREAD_CHUNKS_MAX);
    (sender, Reader { chunks, front: Bytes::new() })
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.front.is_empty() {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(chunk) => self.front = chunk,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = buf.remaining().min(self.front.len());
        buf.put_slice(self.front.get(..count).unwrap_or_default());
        self.front.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// How a chunk becomes a message of the connection; `None` for a chunk is the stream's end, which not every wire can say.
pub(crate) type Wrap<T> = fn(u32, Option<&[u8]>) -> Option<T>;

/// The end of a stream that is written. Shutting it down ends the stream; dropping it alone does not.
pub type BoxWriter = Pin<Box<dyn AsyncWrite + Send>>;

/// What is written to one stream of a connection whose messages are `T`.
pub(crate) struct Writer<T: Send> {
    id: u32,
    wrap: Wrap<T>,
    messages: PollSender<T>,
}

impl<T: Send + 'static> Writer<T> {
    pub(crate) fn boxed(id: u32, wrap: Wrap<T>, messages: mpsc::Sender<T>) -> BoxWriter {
        Box::pin(Self { id, wrap, messages: PollSender::new(messages) })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: Option<&[u8]>) -> Poll<io::Result<()>> {
        let Some(message) = (self.wrap)(self.id, chunk) else { return Poll::Ready(Ok(())) };
        let broken = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.messages.poll_reserve(cx)).map_err(broken)?;
        Poll::Ready(self.messages.send_item(message).map_err(broken))
    }
}

impl<T: Send + 'static> AsyncWrite for Writer<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let chunk = buf.get(..CHUNK_BYTES_MAX).unwrap_or(buf);
        if chunk.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_send(cx, Some(chunk)))?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.messages.is_closed() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx, None))?;
        self.messages.close();
        Poll::Ready(Ok(()))
    }
}
