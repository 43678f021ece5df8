//! Calls whose answer is a stream of a container's output: it is read here in bounded pieces, for a guest writes it.
//!
//! Follows the Docker Engine API's framing: without a terminal, eight bytes go before each piece (which stream, three zeros,
//! the length as a big-endian number); with a terminal, the bytes come as they are.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, FramedRead};
use tokio_util::io::StreamReader;
use wherry_base::Drain;
use wherry_runtime::StdStream;

use crate::engine::{CHANGE_MAX, Connected, EngineError, within};

/// The longest piece of output, in bytes: an engine copies 32 KiB at once.
const PIECE_BYTES_MAX: usize = 1 << 20;
const HEADER_BYTES: usize = 8;
/// The longest text of a refusal.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// What a container printed, in pieces.
pub type Pieces = std::pin::Pin<Box<dyn Stream<Item = io::Result<(StdStream, Bytes)>> + Send>>;

/// How pieces are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each says how long it is.
    Framed,
    /// A line is one, or what there is where a line is too long.
    Lines,
    /// What has come is one.
    Terminal,
}

/// The output of `GET PATH`.
pub async fn read(engine: &Connected, path: &str, framing: Framing, drain: &Drain) -> Result<Pieces, EngineError> {
    let (_, body) = call(engine, Method::GET, path, Bytes::new(), drain).await?;
    let bytes = body.into_data_stream().map_err(io::Error::other);
    Ok(Box::pin(FramedRead::new(StreamReader::new(bytes), framing)))
}

/// The connection that a `POST PATH` becomes.
pub async fn hijack(
    engine: &Connected,
    path: &str,
    body: Bytes,
    drain: &Drain,
) -> Result<TokioIo<Upgraded>, EngineError> {
    let asked = async {
        let (mut parts, _body) = call(engine, Method::POST, path, body, drain).await?;
        let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| EngineError::Silent("it keeps the connection to itself".to_owned()))?;
        upgrade.await.map_err(silent)
    };
    Ok(TokioIo::new(within(CHANGE_MAX, asked).await?))
}

async fn call(
    engine: &Connected,
    method: Method,
    path: &str,
    body: Bytes,
    drain: &Drain,
) -> Result<(http::response::Parts, Incoming), EngineError> {
    let stream = UnixStream::connect(&engine.socket).await.map_err(silent)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(silent)?;
    drain.spawn(async move {
        let _broken = connection.with_upgrades().await;
    });
    let version = engine.api.client_version();
    let uri = format!("/v{}.{}{path}", version.major_version, version.minor_version);
    let mut request = Request::builder().method(method.clone()).uri(uri).header(header::HOST, "engine");
    if method == Method::POST {
        request = request.header(header::CONTENT_TYPE, "application/json");
        request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
    }
    let request = request.body(Full::new(body)).map_err(silent)?;
    let answer = sender.send_request(request).await.map_err(silent)?;
    let (parts, body) = answer.into_parts();
    if parts.status.is_success() || parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok((parts, body));
    }
    let text =
        Limited::new(body, REFUSAL_BYTES_MAX).collect().await.map_or_else(|_| Bytes::new(), |all| all.to_bytes());
    let text = String::from_utf8_lossy(&text).into_owned();
    Err(if parts.status == StatusCode::NOT_FOUND { EngineError::NotFound(text) } else { EngineError::Refused(text) })
}

fn silent(error: impl ToString) -> EngineError {
    EngineError::Silent(error.to_string())
}

impl Decoder for Framing {
    type Item = (StdStream, Bytes);
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        match self {
            Self::Framed => framed(from),
            Self::Lines => Ok(line(from).map(|line| (StdStream::Out, line))),
            Self::Terminal => Ok((!from.is_empty()).then(|| (StdStream::Out, from.split().freeze()))),
        }
    }

    /// A piece that was cut off is no piece; a line without its end is one.
    fn decode_eof(&mut self, from: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        if let Some(piece) = self.decode(from)? {
            return Ok(Some(piece));
        }
        let rest = from.split().freeze();
        Ok((*self == Self::Lines && !rest.is_empty()).then_some((StdStream::Out, rest)))
    }
}

fn framed(from: &mut BytesMut) -> io::Result<Option<(StdStream, Bytes)>> {
    let Some(&[kind, _, _, _, a, b, c, d]) = from.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if kind > 2 || length > PIECE_BYTES_MAX {
        let message = format!("the engine sends what is no output: stream {kind}, {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    if from.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    from.advance(HEADER_BYTES);
    let stream = if kind == 2 { StdStream::Err } else { StdStream::Out };
    Ok(Some((stream, from.split_to(length).freeze())))
}

fn line(from: &mut BytesMut) -> Option<Bytes> {
    let end = from.iter().position(|&byte| byte == b'\n').map(|end| end + 1);
    let end = end.or_else(|| (from.len() >= PIECE_BYTES_MAX).then_some(from.len()))?;
    Some(from.split_to(end).freeze())
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn pieces(framing: Framing, input: &[u8]) -> String {
        // Byte by byte: nothing depends on how the bytes arrive.
        let bytes: Vec<io::Result<Bytes>> = input.iter().map(|&byte| Ok(Bytes::copy_from_slice(&[byte]))).collect();
        let mut stream = FramedRead::new(StreamReader::new(futures::stream::iter(bytes)), framing);
        let mut out = Vec::new();
        while let Some(piece) = stream.next().await {
            match piece {
                Ok((stream, bytes)) => out.push(format!("{stream:?} {:?}", String::from_utf8_lossy(&bytes))),
                Err(error) => out.push(error.to_string()),
            }
        }
        out.join(", ")
    }

    #[tokio::test]
    async fn output_is_told_apart() {
        let framed = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!\x01\0\0\0\0\0\0\x00\x01\0";
        let expected = "Out \"hi\", Err \"!\", Out \"\"";
        assert!(pieces(Framing::Framed, framed).await.starts_with(expected));
        assert_eq!(pieces(Framing::Lines, b"a\nb").await, "Out \"a\\n\", Out \"b\"");
        assert_eq!(pieces(Framing::Terminal, b"$ ").await, "Out \"$\", Out \" \"");
    }

    #[tokio::test]
    async fn what_is_no_output_ends_the_stream() {
        for wrong in [b"\x07\0\0\0\0\0\0\x01x", b"\x01\0\0\0\xff\0\0\0x"] {
            assert!(pieces(Framing::Framed, wrong).await.contains("no output"));
        }
        let endless = vec![b'x'; PIECE_BYTES_MAX + 1];
        let mut buffer = BytesMut::from(endless.as_slice());
        assert_eq!(line(&mut buffer).map(|line| line.len()), Some(PIECE_BYTES_MAX + 1));
    }
}
