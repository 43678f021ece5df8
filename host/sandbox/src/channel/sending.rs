//! This end's part of an exchange: its body, sent at the other end's pace. Dropped before its end, the other end learns that
//! nothing more comes, whatever the cause: a task that panics, too.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{request, response};

use super::Channel;
use super::exchange::{End, Exchange};
use super::frame::{FrameError, Piece, What};
use super::outbound::Outbound;

/// What this end sends of one exchange.
pub(crate) struct Sending {
    pub(super) channel: Arc<Channel>,
    pub(super) number: u64,
    pub(super) exchange: Arc<Exchange>,
}

/// What goes before a body.
pub(crate) enum Head<'a> {
    Request(SocketAddr, &'a request::Parts),
    Response(&'a response::Parts),
}

impl Sending {
    /// Which exchange it is.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Waits until a head may be sent.
    pub(crate) async fn room(&self) {
        self.channel.room().await;
    }

    /// Sends a head, with what is there of its body: that, where it is all of it.
    pub(crate) async fn begin(&self, head: Head<'_>, body: &mut Outbound) -> Result<Option<Bytes>, FrameError> {
        // Not waited for: the head goes with what is there.
        poll_fn(|context| Poll::Ready(body.poll_ready(context).is_ready())).await;
        let (bytes, is_last) = body.piece(self.exchange.spend(body.piece_len()));
        let piece = Piece { bytes: &bytes, is_last };
        self.channel.push(self.number, head.with(piece))?;
        if is_last {
            self.channel.sent(self.number);
        }
        Ok(is_last.then_some(bytes))
    }

    /// Sends the rest of a body.
    pub(crate) async fn send(self, mut body: Outbound) {
        while !poll_fn(|context| self.poll_send(&mut body, context)).await {}
        self.channel.sent(self.number);
    }

    /// Nobody has seen the request, nor will.
    pub(crate) fn refuse(self) {
        self.channel.refuse(self.number);
    }

    /// Sends what is there, once it may be sent. Whether it was the last.
    fn poll_send(&self, body: &mut Outbound, context: &mut Context<'_>) -> Poll<bool> {
        ready!(body.poll_ready(context));
        if body.piece_len() > 0 {
            ready!(self.exchange.poll_credit(context));
        }
        ready!(self.channel.poll_room(context));
        if let Some(end) = body.end() {
            self.channel.say(self.number, end.into());
            return Poll::Ready(true);
        }
        let (bytes, is_last) = body.piece(self.exchange.spend(body.piece_len()));
        self.channel.say(self.number, What::Data(Piece { bytes: &bytes, is_last }));
        Poll::Ready(is_last)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.channel.break_off(self.number);
    }
}

impl<'a> Head<'a> {
    fn with(self, piece: Piece<'a>) -> What<'a> {
        match self {
            Self::Request(to, head) => What::Request { to, head: Cow::Borrowed(head), piece },
            Self::Response(head) => What::Response { head: Cow::Borrowed(head), piece },
        }
    }
}

impl From<End> for What<'_> {
    fn from(end: End) -> Self {
        match end {
            End::Whole(None) => Self::Data(Piece { bytes: &[], is_last: true }),
            End::Whole(Some(trailers)) => Self::Trailers(trailers),
            End::Cut | End::Refused => Self::Cut,
        }
    }
}
