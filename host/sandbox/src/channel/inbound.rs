//! A body, or an answer, that comes from the other end. Dropped before its end, the other end learns that it need not go on.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame as BodyFrame;
use wherry_vnet::BoxError;

use super::Channel;
use super::exchange::{Begun, End, Exchange, Part, WINDOW_BYTES};
use super::frame::What;

/// The other end is told of what was read at so many bytes.
const CREDIT_BYTES: usize = WINDOW_BYTES / 2;

/// What one exchange brings this end.
pub(crate) struct Inbound {
    pub(super) channel: Arc<Channel>,
    pub(super) number: u64,
    pub(super) exchange: Arc<Exchange>,
    /// What was read that the other end does not know of.
    pub(super) untold: usize,
    pub(super) is_over: bool,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the other end of the body is gone")]
struct Lost;

impl Inbound {
    /// The answer's head, or why there is none.
    pub(crate) async fn begun(&mut self) -> Result<Begun, End> {
        poll_fn(|context| self.exchange.poll_head(context)).await
    }

    fn read(&mut self, bytes: usize) {
        self.untold += bytes;
        if self.untold >= CREDIT_BYTES {
            let told = std::mem::take(&mut self.untold);
            self.exchange.grant(told);
            self.channel.say(self.number, What::Credit(u32::try_from(told).unwrap_or_default()));
        }
    }

    fn over(&mut self, end: End) -> Option<Result<BodyFrame<Bytes>, BoxError>> {
        self.is_over = true;
        match end {
            End::Whole(trailers) => trailers.map(|trailers: HeaderMap| Ok(BodyFrame::trailers(trailers))),
            End::Cut | End::Refused => Some(Err(Lost.into())),
        }
    }
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match ready!(self.exchange.poll_part(context)) {
            Part::Data(data) => {
                self.read(data.len());
                Poll::Ready(Some(Ok(BodyFrame::data(data))))
            }
            Part::End(end) => Poll::Ready(self.over(end)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.exchange.is_read()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.channel.leave(self.number);
    }
}
