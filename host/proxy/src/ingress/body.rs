//! Bodies on their way through: nothing is copied or buffered, but their ends are noticed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wherry_vnet::{Body, BoxError};

use super::pool::Lease;
use crate::table::Permit;

/// How long a client may pause in the middle of a body.
const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A response's body. What it holds is given back when it ends.
pub(crate) enum Outgoing {
    /// The ingress's own words.
    Text(Full<Bytes>),
    /// A handler's.
    Handler { body: Body, _permit: Permit },
    /// A connection's, which can be used again after a complete body.
    Connection { body: Incoming, lease: Option<Lease>, ended: bool, _permit: Permit },
}

impl Outgoing {
    pub(crate) fn text(text: String) -> Self {
        Self::Text(Full::new(text.into()))
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Text(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Handler { body, .. } => Pin::new(body).poll_frame(cx),
            Self::Connection { body, ended, .. } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                *ended |= frame.is_none();
                Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(body) => body.is_end_stream(),
            Self::Handler { body, .. } => body.is_end_stream(),
            Self::Connection { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(body) => body.size_hint(),
            Self::Handler { body, .. } => body.size_hint(),
            Self::Connection { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Self::Connection { body, lease, ended, .. } = self
            && (*ended || body.is_end_stream())
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

/// A request's body for a pod. One that is over at once costs no allocation.
pub(crate) fn incoming(body: Incoming) -> Body {
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    Paced { body, idle: None }.boxed_unsync()
}

/// A client's body that fails when the client pauses too long.
struct Paced {
    body: Incoming,
    /// Set while the body waits.
    idle: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(idle) = &mut self.idle {
                idle.as_mut().reset(Instant::now() + BODY_IDLE_TIMEOUT);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_IDLE_TIMEOUT)));
        ready!(idle.as_mut().poll(cx));
        Poll::Ready(Some(Err("the client sent nothing for too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
