//! HTTP without a stream: a pod's port can be served by a handler, which the ingress on the same node calls directly.
//! Who connects to that port as to any other gets HTTP/1.1 spoken over the stream by the runtime that bound it.

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
    /// Answers one request. An error means that no answer was begun (the instance trapped): a 502 for the client.
    async fn handle(&self, request: ::http::Request<Body>) -> Result<::http::Response<Body>, BoxError>;
}

/// A body that is one piece.
pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
