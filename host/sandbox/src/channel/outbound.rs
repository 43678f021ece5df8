//! A body on its way to the other end: read as it comes, small pieces joined.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use wherry_vnet::Body;

use super::exchange::End;
use super::frame::PIECE_BYTES_MAX;

/// A body, with what was read of it and is not sent yet.
pub(crate) struct Outbound {
    body: Body,
    held: Bytes,
    end: Option<End>,
}

impl Outbound {
    pub(crate) fn new(body: Body) -> Self {
        let end = body.is_end_stream().then_some(End::Whole(None));
        Self { body, held: Bytes::new(), end }
    }

    /// Reads what is there, up to a piece. Ready when something can be sent.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && self.held.len() < PIECE_BYTES_MAX {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else { break };
            self.take_in(frame);
        }
        if self.end.is_none() && self.held.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn take_in(&mut self, frame: Option<Result<http_body::Frame<Bytes>, wherry_vnet::BoxError>>) {
        match frame.transpose() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => self.hold(data),
                Err(other) => self.end = other.into_trailers().ok().map(|trailers| End::Whole(Some(trailers))),
            },
            Ok(None) => self.end = Some(End::Whole(None)),
            Err(_) => self.end = Some(End::Cut),
        }
        if self.end.is_none() && self.body.is_end_stream() {
            self.end = Some(End::Whole(None));
        }
    }

    fn hold(&mut self, data: Bytes) {
        if self.held.is_empty() {
            self.held = data;
        } else if !data.is_empty() {
            let mut joined = BytesMut::with_capacity(self.held.len() + data.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&data);
            self.held = joined.freeze();
        }
    }

    /// How much the next piece has at most.
    pub(crate) fn piece_len(&self) -> usize {
        self.held.len().min(PIECE_BYTES_MAX)
    }

    /// The next piece, of so many bytes, and whether it is the last.
    pub(crate) fn piece(&mut self, bytes: usize) -> (Bytes, bool) {
        let piece = self.held.split_to(bytes.min(self.held.len()));
        (piece, self.is_sent())
    }

    /// How the body has ended, once all its pieces are taken.
    pub(crate) fn end(&mut self) -> Option<End> {
        if self.held.is_empty() { self.end.take() } else { None }
    }

    fn is_sent(&self) -> bool {
        self.held.is_empty() && matches!(self.end, Some(End::Whole(None)))
    }
}
