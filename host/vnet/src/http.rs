//! HTTP without a stream: a pod's port can be served by a handler, which the ingress on the same node calls directly.
//! Who connects to that port as to any other gets HTTP/1.1 spoken over the stream by the runtime that bound it.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Answers HTTP requests for a port of a pod.
#[async_trait]
pub trait HttpHandler: Send + Sync + 'static {
    /// Answers one request. An error means that no answer was begun: another endpoint is asked where that can do no harm.
    async fn handle(&self, request: ::http::Request<Body>) -> Result<::http::Response<Body>, Unanswered>;
}

/// A request that got no answer.
pub enum Unanswered {
    /// Nobody has seen it: here it is, for another endpoint.
    Unseen(Box<::http::Request<Body>>),
    /// Why it broke off, and the request where it is whole yet. A guest may have seen it: only what does no harm when it is
    /// done twice may be asked again.
    Broken(BoxError, Option<Box<::http::Request<Body>>>),
}

impl<E: Into<BoxError>> From<E> for Unanswered {
    fn from(why: E) -> Self {
        Self::Broken(why.into(), None)
    }
}

/// Not an `Error` itself, so that any is one of these.
impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unseen(_) => f.write_str("it takes no request any more"),
            Self::Broken(why, _) => why.fmt(f),
        }
    }
}

impl fmt::Debug for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unanswered({self})")
    }
}

/// A body that is one piece.
pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
