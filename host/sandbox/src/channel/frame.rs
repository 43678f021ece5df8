//! What passes over a channel: frames, each with its length before it.
//!
//! The other end may be hostile: a frame that is too long, has too many headers or is not of this form breaks the channel.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, request, response};
use postcard::ser_flavors::Flavor;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long a frame may be: the longest head that the ingress takes, with the headers it adds, and a piece of a body.
pub(crate) const FRAME_BYTES_MAX: usize = 128 * 1024;

/// How much of a body a frame has at most.
pub(crate) const PIECE_BYTES_MAX: usize = 16 * 1024;

/// How many headers a head has at most.
const HEADERS_MAX: usize = 256;

/// A frame's length is told in so many bytes, the least significant first.
const LENGTH_BYTES: usize = size_of::<u32>();

/// A frame of one exchange: a request and its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Frame<'a> {
    pub(crate) exchange: u64,
    #[serde(borrow)]
    pub(crate) what: What<'a>,
}

/// What is said of an exchange. The node begins it, with a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What<'a> {
    /// From the node: a request for a port of a pod, with as much of its body as is there.
    Request {
        to: SocketAddr,
        #[serde(with = "request_head")]
        head: Cow<'a, request::Parts>,
        #[serde(borrow)]
        piece: Piece<'a>,
    },
    /// From the sandbox: the answer, with as much of its body as is there.
    Response {
        #[serde(with = "response_head")]
        head: Cow<'a, response::Parts>,
        #[serde(borrow)]
        piece: Piece<'a>,
    },
    /// From the sandbox: nobody has seen the request, nor will.
    Refused,
    /// More of the sender's body.
    Data(#[serde(borrow)] Piece<'a>),
    /// The end of the sender's body, with trailers.
    Trailers(#[serde(with = "trailers")] HeaderMap),
    /// The sender's body, or its answer, breaks off here.
    Cut,
    /// The sender wants no more of the other end's body.
    Enough,
    /// The sender has read so many bytes of the other end's body, and takes as many more.
    Credit(u32),
}

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece<'a> {
    #[serde(borrow, with = "octets")]
    pub(crate) bytes: &'a [u8],
    pub(crate) is_last: bool,
}

/// Why bytes are no frame, or no frame becomes of what is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes is longer than the {FRAME_BYTES_MAX} that one may be")]
    TooLong(usize),
    #[error("a frame is malformed")]
    Malformed,
}

impl Frame<'_> {
    /// Appends it to `buffer`, which is as before where the frame would be too long.
    pub(crate) fn encode(&self, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let begin = buffer.len();
        buffer.put_bytes(0, LENGTH_BYTES);
        let encoded = postcard::serialize_with_flavor(self, Appended(buffer));
        let length = buffer.len() - begin - LENGTH_BYTES;
        let told = u32::try_from(length).ok().filter(|_| encoded.is_ok() && length <= FRAME_BYTES_MAX);
        let place = buffer.get_mut(begin..begin + LENGTH_BYTES);
        let (Some(told), Some(place)) = (told, place) else {
            buffer.truncate(begin);
            return Err(FrameError::TooLong(length));
        };
        place.copy_from_slice(&told.to_le_bytes());
        Ok(())
    }
}

impl<'a> Frame<'a> {
    /// The first frame of `bytes`, and how many of them it takes; `None` while it is not whole.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(encoded) = rest.get(..length) else { return Ok(None) };
        match postcard::take_from_bytes(encoded) {
            Ok((frame, [])) => Ok(Some((frame, LENGTH_BYTES + length))),
            _ => Err(FrameError::Malformed),
        }
    }
}

/// Encodes at the end of a buffer.
struct Appended<'a>(&'a mut BytesMut);

impl Flavor for Appended<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

mod request_head {
    use super::*;

    pub(super) fn serialize<S: Serializer>(head: &request::Parts, to: S) -> Result<S::Ok, S::Error> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        (head.method.as_str(), target, Headers(Cow::Borrowed(&head.headers))).serialize(to)
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(from: D) -> Result<Cow<'a, request::Parts>, D::Error> {
        let (method, target, headers) = <(&str, &str, Headers<'_>)>::deserialize(from)?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = Method::from_bytes(method.as_bytes()).map_err(D::Error::custom)?;
        head.uri = Uri::try_from(target).map_err(D::Error::custom)?;
        head.headers = headers.0.into_owned();
        Ok(Cow::Owned(head))
    }
}

mod response_head {
    use super::*;

    pub(super) fn serialize<S: Serializer>(head: &response::Parts, to: S) -> Result<S::Ok, S::Error> {
        (head.status.as_u16(), Headers(Cow::Borrowed(&head.headers))).serialize(to)
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(from: D) -> Result<Cow<'a, response::Parts>, D::Error> {
        let (status, headers) = <(u16, Headers<'_>)>::deserialize(from)?;
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::from_u16(status).map_err(D::Error::custom)?;
        head.headers = headers.0.into_owned();
        Ok(Cow::Owned(head))
    }
}

mod trailers {
    use super::*;

    pub(super) fn serialize<S: Serializer>(trailers: &HeaderMap, to: S) -> Result<S::Ok, S::Error> {
        Headers(Cow::Borrowed(trailers)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderMap, D::Error> {
        Ok(Headers::deserialize(from)?.0.into_owned())
    }
}

/// Bytes in one piece rather than one by one.
mod octets {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'de [u8], D::Error> {
        <&[u8]>::deserialize(from)
    }
}

#[derive(Serialize, Deserialize)]
struct Octets<'a>(#[serde(borrow, with = "octets")] &'a [u8]);

struct Headers<'a>(Cow<'a, HeaderMap>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut all = to.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            all.serialize_element(&(name.as_str(), Octets(value.as_bytes())))?;
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Headers<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ReadHeaders).map(|headers| Self(Cow::Owned(headers)))
    }
}

struct ReadHeaders;

impl<'de> Visitor<'de> for ReadHeaders {
    type Value = HeaderMap;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "at most {HEADERS_MAX} headers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<HeaderMap, A::Error> {
        // No more room is made than there may be headers, whatever is claimed.
        let mut headers = HeaderMap::with_capacity(from.size_hint().unwrap_or(0).min(HEADERS_MAX));
        while let Some((name, Octets(value))) = from.next_element::<(&str, Octets<'de>)>()? {
            if headers.len() >= HEADERS_MAX {
                return Err(A::Error::custom("too many headers"));
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(A::Error::custom)?;
            headers.append(name, HeaderValue::from_bytes(value).map_err(A::Error::custom)?);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests;
