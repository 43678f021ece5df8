//! Frames (section 2.2 of the draft), and their bytes.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::headers::{Deflater, Headers, Inflater};
use crate::pipe::CHUNK_BYTES_MAX;

/// The largest control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 16 * 1024;
const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const FLAG_FIN: u8 = 1;

/// A frame, or a piece of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream.
    Open {
        id: u32,
        fin: bool,
        headers: Headers,
    },
    /// The stream is taken.
    Reply {
        id: u32,
        fin: bool,
    },
    /// The stream is broken off.
    Reset {
        id: u32,
        status: u32,
    },
    Ping(u32),
    /// No more streams are taken; 0 is all well.
    GoAway {
        status: u32,
    },
    Data {
        id: u32,
        fin: bool,
        bytes: Bytes,
    },
    /// What has no meaning here: settings, windows.
    Other,
}

/// Why a stream is broken off (section 2.6.3).
pub(super) mod status {
    pub(crate) const REFUSED_STREAM: u32 = 3;
    pub(crate) const CANCEL: u32 = 5;
}

/// Reads frames.
pub(super) struct Frames<R> {
    from: R,
    inflater: Inflater,
    /// Of a data frame that is read in pieces: its stream, whether it ends it, and how much is left.
    open: Option<(u32, bool, usize)>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, inflater: Inflater::new(), open: None }
    }

    /// The next frame; an error at the connection's end, or where it makes no sense.
    pub(super) async fn next(&mut self) -> io::Result<Frame> {
        if let Some((id, fin, left)) = self.open.take() {
            return self.data(id, fin, left).await;
        }
        let word = self.from.read_u32().await?;
        let flags = self.from.read_u8().await?;
        let length = self.length().await?;
        if word & 1 << 31 == 0 {
            return self.data(word, flags & FLAG_FIN != 0, length).await;
        }
        let [_, _, high, low] = word.to_be_bytes();
        let version = u16::try_from(word >> 16 & 0x7fff).unwrap_or(0);
        if version != VERSION || length > CONTROL_BYTES_MAX {
            return Err(bad("neither a frame of SPDY/3 nor one of a bearable size"));
        }
        let mut payload = vec![0; length];
        self.from.read_exact(&mut payload).await?;
        self.control(u16::from_be_bytes([high, low]), flags & FLAG_FIN != 0, &payload)
    }

    async fn length(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.from.read_exact(bytes.get_mut(1..).unwrap_or_default()).await?;
        Ok(usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX))
    }

    async fn data(&mut self, id: u32, fin: bool, length: usize) -> io::Result<Frame> {
        let piece = length.min(CHUNK_BYTES_MAX);
        let mut bytes = vec![0; piece];
        self.from.read_exact(&mut bytes).await?;
        let is_last = piece == length;
        if !is_last {
            self.open = Some((id, fin, length - piece));
        }
        Ok(Frame::Data { id, fin: fin && is_last, bytes: bytes.into() })
    }

    fn control(&mut self, kind: u16, fin: bool, payload: &[u8]) -> io::Result<Frame> {
        let at = |index: usize| number(payload, index).ok_or_else(|| bad("a frame is too short"));
        let block = |from: usize| payload.get(from..).ok_or_else(|| bad("a frame is too short"));
        Ok(match kind {
            // Stream, associated stream, priority and slot, headers.
            SYN_STREAM => Frame::Open { id: at(0)?, fin, headers: self.inflater.read(block(10)?)? },
            SYN_REPLY | HEADERS => {
                // Read even though nobody wants them: the blocks of a connection share a window.
                self.inflater.read(block(4)?)?;
                if kind == SYN_REPLY { Frame::Reply { id: at(0)?, fin } } else { Frame::Other }
            }
            RST_STREAM => Frame::Reset { id: at(0)?, status: at(1)? },
            PING => Frame::Ping(at(0)?),
            GOAWAY => Frame::GoAway { status: at(1)? },
            _ => Frame::Other,
        })
    }
}

/// Appends a frame's bytes.
pub(super) fn write(frame: &Frame, deflater: &mut Deflater, out: &mut Vec<u8>) -> io::Result<()> {
    match frame {
        Frame::Open { id, fin, headers } => {
            let mut payload = [id.to_be_bytes(), [0; 4]].concat();
            payload.extend([0, 0]);
            payload.extend(deflater.write(headers)?);
            control(SYN_STREAM, *fin, &payload, out);
        }
        Frame::Reply { id, fin } => {
            let mut payload = id.to_be_bytes().to_vec();
            payload.extend(deflater.write(&Headers::default())?);
            control(SYN_REPLY, *fin, &payload, out);
        }
        Frame::Reset { id, status } => {
            control(RST_STREAM, false, &[id.to_be_bytes(), status.to_be_bytes()].concat(), out);
        }
        Frame::Ping(id) => control(PING, false, &id.to_be_bytes(), out),
        Frame::GoAway { status } => control(GOAWAY, false, &[[0; 4], status.to_be_bytes()].concat(), out),
        Frame::Data { id, fin, bytes } => {
            out.extend(id.to_be_bytes());
            head(*fin, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        Frame::Other => {}
    }
    Ok(())
}

fn control(kind: u16, fin: bool, payload: &[u8], out: &mut Vec<u8>) {
    out.extend((VERSION | 1 << 15).to_be_bytes());
    out.extend(kind.to_be_bytes());
    head(fin, payload.len(), out);
    out.extend_from_slice(payload);
}

fn head(fin: bool, length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(u32::MAX) & 0x00ff_ffff;
    out.extend((u32::from(if fin { FLAG_FIN } else { 0 }) << 24 | length).to_be_bytes());
}

/// The `index`th number of a payload, without the bit that is reserved in stream ids.
fn number(payload: &[u8], index: usize) -> Option<u32> {
    let bytes = payload.get(index * 4..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

fn bad(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
