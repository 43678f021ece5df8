//! What a guest leaves unread of a request's body.
//!
//! A connection that is closed with something unread is reset, and takes the answer with it that is still on its way
//! (RFC 9112 §9.6). So the rest is read and dropped, for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How long the rest is read for, and how much of it. There is one at most for a connection.
const LINGER_MOST: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 4 << 20;

/// A request's body, read to its end when it is dropped.
pub(crate) struct Lingering {
    body: Option<Incoming>,
    handle: Handle,
    stopping: CancellationToken,
}

impl Lingering {
    /// Until the container is `stopping`, at most.
    pub(crate) const fn new(body: Incoming, handle: Handle, stopping: CancellationToken) -> Self {
        Self { body: Some(body), handle, stopping }
    }
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let stopping = self.stopping.clone();
        self.handle.spawn(async move {
            let rest = tokio::time::timeout(LINGER_MOST, read_on(&mut body));
            let _enough = stopping.run_until_cancelled(rest).await;
        });
    }
}

async fn read_on(body: &mut Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await
        && read < LINGER_BYTES_MAX
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
