//! A connection: which streams it has, and what becomes of each frame.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::{Frame, Frames, status, write};
use super::headers::{Deflater, Headers};
use crate::close::LINGER;
use crate::pipe::{BoxWriter, CHUNK_BYTES_MAX, Reader, Writer, reader};

/// How many streams a connection may have at once.
pub const STREAMS_MAX: usize = 512;
/// How many frames wait to be written.
const FRAMES_MAX: usize = 32;
/// How many streams wait for the server to take them up.
const INCOMING_MAX: usize = 32;
/// How much is gathered for one write, in bytes.
const WRITE_BYTES: usize = 4 * CHUNK_BYTES_MAX;

/// One end of a connection. Clones are of the same.
#[derive(Clone)]
pub struct Connection {
    frames: mpsc::Sender<Frame>,
    streams: Arc<Mutex<Streams>>,
    /// The id of the stream that this end opens next. Held until the stream is announced: ids must go up.
    next: Arc<tokio::sync::Mutex<u32>>,
}

/// What the other end opens.
pub type Incoming = mpsc::Receiver<Stream>;

/// A stream. Dropping it makes what still comes disappear, and says nothing to the other end.
pub struct Stream {
    /// What it was opened with.
    pub headers: Headers,
    /// What the other end says.
    pub reader: Reader,
    /// What is said to the other end.
    pub writer: BoxWriter,
    /// Cancelled when the other end breaks the stream off.
    pub broken: CancellationToken,
    id: u32,
    frames: mpsc::Sender<Frame>,
}

type Streams = HashMap<u32, Inlet>;

/// Where what comes for a stream goes.
struct Inlet {
    chunks: mpsc::Sender<Bytes>,
    broken: CancellationToken,
}

/// The server's end over `io`, the streams that the client opens, and what must be awaited for any of it to move: it resolves
/// when the connection has ended.
pub fn server<S>(io: S) -> (Connection, Incoming, impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite,
{
    connect(io, 2)
}

/// The client's end, likewise.
pub fn client<S>(io: S) -> (Connection, impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite,
{
    let (connection, _, driver) = connect(io, 1);
    (connection, driver)
}

fn connect<S>(io: S, first: u32) -> (Connection, Incoming, impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite,
{
    let (frames, queue) = mpsc::channel(FRAMES_MAX);
    let (opened, incoming) = mpsc::channel(INCOMING_MAX);
    let connection = Connection { frames, streams: Arc::default(), next: Arc::new(tokio::sync::Mutex::new(first)) };
    let receiving = connection.clone();
    let driver = async move {
        let (read, sink) = tokio::io::split(io);
        let mut received = std::pin::pin!(receiving.receive(BufReader::with_capacity(CHUNK_BYTES_MAX, read), opened));
        let sent = tokio::select! {
            _broken = received.as_mut() => Err(io::ErrorKind::BrokenPipe.into()),
            sent = send(sink, queue) => sent,
        };
        if sent.is_ok() {
            let _late = tokio::time::timeout(LINGER, received).await;
        }
        receiving.locked().clear();
    };
    (connection, incoming, driver)
}

impl Connection {
    /// Opens a stream; `fin`: this end says nothing on it.
    pub async fn open(&self, headers: Headers, fin: bool) -> io::Result<Stream> {
        let mut next = self.next.lock().await;
        let id = *next;
        *next = id.checked_add(2).filter(|id| id >> 31 == 0).ok_or(io::ErrorKind::QuotaExceeded)?;
        let stream = self.stream(id, headers.clone());
        let announced = self.frames.send(Frame::Open { id, fin, headers }).await;
        announced.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(stream)
    }

    /// Says goodbye; once that is written, the connection ends.
    pub async fn close(&self) {
        let _ended = self.frames.send(Frame::GoAway { status: 0 }).await;
    }

    fn stream(&self, id: u32, headers: Headers) -> Stream {
        let (chunks, reader) = reader();
        let broken = CancellationToken::new();
        self.locked().insert(id, Inlet { chunks, broken: broken.clone() });
        let frames = self.frames.clone();
        Stream { headers, reader, writer: Writer::boxed(id, data, frames.clone()), broken, id, frames }
    }

    async fn receive<R>(&self, from: R, opened: mpsc::Sender<Stream>) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
    {
        let mut frames = Frames::new(from);
        let mut last = 0;
        loop {
            match frames.next().await? {
                Frame::Open { id, fin, headers } => {
                    // The client's ids are odd; a server opens none here.
                    if id <= last || id % 2 == 0 {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    last = id;
                    self.opened(id, fin, headers, &opened).await?;
                }
                Frame::Data { id, fin, bytes } => self.data(id, fin, bytes).await,
                Frame::Reply { id, fin: true } => drop(self.locked().remove(&id)),
                Frame::Reset { id, .. } => {
                    if let Some(inlet) = self.locked().remove(&id) {
                        inlet.broken.cancel();
                    }
                }
                // Dropped where the other end does not read: it is not to keep others waiting.
                Frame::Ping(id) => drop(self.frames.try_send(Frame::Ping(id))),
                Frame::Reply { .. } | Frame::GoAway { .. } | Frame::Other => {}
            }
        }
    }

    async fn opened(&self, id: u32, fin: bool, headers: Headers, to: &mpsc::Sender<Stream>) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        if !self.has_room() {
            let refusal = Frame::Reset { id, status: status::REFUSED_STREAM };
            return self.frames.send(refusal).await.map_err(|_| broken());
        }
        let stream = self.stream(id, headers);
        if fin {
            self.locked().remove(&id);
        }
        self.frames.send(Frame::Reply { id, fin: false }).await.map_err(|_| broken())?;
        to.send(stream).await.map_err(|_| broken())
    }

    fn has_room(&self) -> bool {
        let mut streams = self.locked();
        if streams.len() >= STREAMS_MAX {
            streams.retain(|_, inlet| !inlet.chunks.is_closed());
        }
        streams.len() < STREAMS_MAX
    }

    /// Hands over what came for a stream; for one that nobody reads any more, it disappears.
    async fn data(&self, id: u32, fin: bool, bytes: Bytes) {
        let chunks = self.locked().get(&id).map(|inlet| inlet.chunks.clone());
        let Some(chunks) = chunks else { return };
        let is_gone = !bytes.is_empty() && chunks.send(bytes).await.is_err();
        if fin || is_gone {
            self.locked().remove(&id);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Breaks the stream off, for both ends.
    pub async fn reset(self) {
        let _ended = self.frames.send(Frame::Reset { id: self.id, status: status::CANCEL }).await;
    }
}

fn data(id: u32, chunk: Option<&[u8]>) -> Option<Frame> {
    Some(Frame::Data { id, fin: chunk.is_none(), bytes: Bytes::copy_from_slice(chunk.unwrap_or_default()) })
}

/// Writes what is queued, until goodbye is said.
async fn send<W>(mut to: W, mut queue: mpsc::Receiver<Frame>) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut deflater = Deflater::new()?;
    let mut out = Vec::new();
    while let Some(frame) = queue.recv().await {
        let mut is_last = matches!(frame, Frame::GoAway { .. });
        write(&frame, &mut deflater, &mut out)?;
        while !is_last && out.len() < WRITE_BYTES {
            let Ok(frame) = queue.try_recv() else { break };
            is_last = matches!(frame, Frame::GoAway { .. });
            write(&frame, &mut deflater, &mut out)?;
        }
        to.write_all(&out).await?;
        to.flush().await?;
        out.clear();
        if is_last {
            return to.shutdown().await;
        }
    }
    Ok(())
}
