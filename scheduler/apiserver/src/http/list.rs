//! The body of a list: made piece by piece as the client reads, so that a slow reader, or one that does not read at
//! all, holds no second copy of the collection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use wherry_api::{ObjectKey, Resource};
use wherry_store::Entry;

use crate::registry::{LIST_TAIL, Page};

/// How much is made at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A list as JSON.
pub(super) struct ListBody {
    head: Vec<u8>,
    entries: IntoIter<(ObjectKey, Arc<Entry>)>,
    is_first: bool,
    bytes_left: usize,
}

impl ListBody {
    pub(super) fn new(page: Page, resource: &Resource) -> Self {
        let head = page.head(resource).into_bytes();
        let objects: usize = page.entries.iter().map(|(_, entry)| entry.json.len()).sum();
        let commas = page.entries.len().saturating_sub(1);
        let bytes_left = head.len() + objects + commas + LIST_TAIL.len();
        Self { head, entries: page.entries.into_iter(), is_first: true, bytes_left }
    }

    /// The next piece; empty behind the last.
    fn piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::with_capacity(self.bytes_left.min(PIECE_BYTES + PIECE_BYTES / 4));
        piece.append(&mut self.head);
        while piece.len() < PIECE_BYTES && self.bytes_left > 0 {
            let Some((_, entry)) = self.entries.next() else {
                piece.extend_from_slice(LIST_TAIL);
                break;
            };
            if !std::mem::take(&mut self.is_first) {
                piece.push(b',');
            }
            piece.extend_from_slice(&entry.json);
        }
        piece
    }
}

impl Body for ListBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes_left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.piece();
        self.bytes_left = self.bytes_left.saturating_sub(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left as u64)
    }
}
