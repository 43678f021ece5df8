//! A request and its answer as one end sees them: what has come and is not read yet, and how much may be sent.
//!
//! Each end lets the other send [`WINDOW_BYTES`] of a body, and as many more as are read: a body that nobody reads holds
//! that much, and holds up no other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, response};

use super::Violation;
use super::frame::Piece;

/// How much of a body is on its way to its reader at most.
pub(crate) const WINDOW_BYTES: usize = 64 * 1024;

/// One end of an exchange.
#[derive(Debug)]
pub(crate) struct Exchange(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The answer's, at the node.
    head: Option<response::Parts>,
    is_answered: bool,
    unread: BytesMut,
    /// How much more the other end may send.
    room: usize,
    end: Option<End>,
    reader: Option<Waker>,
    /// How much more this end may send.
    credit: usize,
    sender: Option<Waker>,
}

/// How a body ended.
#[derive(Debug)]
pub(crate) enum End {
    Whole(Option<HeaderMap>),
    Cut,
    /// There is no answer, and nobody has seen the request.
    Refused,
}

/// What there is of a body.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Bytes),
    End(End),
}

/// An answer as far as it has come.
pub(crate) struct Begun {
    pub(crate) head: response::Parts,
    /// The body, where it is here already.
    pub(crate) whole: Option<Bytes>,
}

impl Exchange {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            head: None,
            is_answered: false,
            unread: BytesMut::new(),
            room: WINDOW_BYTES,
            end: None,
            reader: None,
            credit: WINDOW_BYTES,
            sender: None,
        }))
    }

    /// The answer has come.
    pub(crate) fn answered(&self, head: response::Parts, piece: Piece<'_>) -> Result<(), Violation> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.is_answered, true) {
            return Err(Violation("it has answered a request twice"));
        }
        state.head = Some(head);
        state.take_in(piece)?;
        wake(state, |state| &mut state.reader);
        Ok(())
    }

    /// The request has come.
    pub(crate) fn begun(&self, piece: Piece<'_>) -> Result<(), Violation> {
        self.lock().take_in(piece)
    }

    /// More of the body has come.
    pub(crate) fn received(&self, piece: Piece<'_>) -> Result<(), Violation> {
        if piece.bytes.is_empty() && !piece.is_last {
            return Err(Violation("it has sent an empty piece"));
        }
        let mut state = self.lock();
        state.take_in(piece)?;
        wake(state, |state| &mut state.reader);
        Ok(())
    }

    /// The body has ended. Only the first end counts.
    pub(crate) fn ended(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state, |state| &mut state.reader);
    }

    /// The other end may send so much more.
    pub(crate) fn grant(&self, bytes: usize) {
        let mut state = self.lock();
        state.room = (state.room + bytes).min(WINDOW_BYTES);
    }

    /// This end may send so much more.
    pub(crate) fn credited(&self, bytes: usize) -> Result<(), Violation> {
        let mut state = self.lock();
        let credit = state.credit.saturating_add(bytes);
        if credit > WINDOW_BYTES {
            return Err(Violation("it has read more than was sent"));
        }
        state.credit = credit;
        wake(state, |state| &mut state.sender);
        Ok(())
    }

    /// The answer's head, or why there is none.
    pub(crate) fn poll_head(&self, context: &Context<'_>) -> Poll<Result<Begun, End>> {
        let mut state = self.lock();
        if let Some(head) = state.head.take() {
            let is_whole = matches!(state.end, Some(End::Whole(None)));
            let whole = is_whole.then(|| state.unread.split().freeze());
            return Poll::Ready(Ok(Begun { head, whole }));
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(Err(end));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// What has come of the body. Its end is told once.
    pub(crate) fn poll_part(&self, context: &Context<'_>) -> Poll<Part> {
        let mut state = self.lock();
        if !state.unread.is_empty() {
            return Poll::Ready(Part::Data(state.unread.split().freeze()));
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(Part::End(end));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the body has ended and all of it is read.
    pub(crate) fn is_read(&self) -> bool {
        let state = self.lock();
        state.unread.is_empty() && matches!(state.end, Some(End::Whole(None)))
    }

    /// Ready when something may be sent.
    pub(crate) fn poll_credit(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.credit > 0 {
            return Poll::Ready(());
        }
        state.sender = Some(context.waker().clone());
        Poll::Pending
    }

    /// Uses credit for a piece: how much of `wanted` may be sent.
    pub(crate) fn spend(&self, wanted: usize) -> usize {
        let mut state = self.lock();
        let spent = wanted.min(state.credit);
        state.credit -= spent;
        spent
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_in(&mut self, piece: Piece<'_>) -> Result<(), Violation> {
        let room = self.room.checked_sub(piece.bytes.len());
        self.room = room.ok_or(Violation("it has sent more of a body than it may"))?;
        self.unread.extend_from_slice(piece.bytes);
        if piece.is_last {
            self.end.get_or_insert(End::Whole(None));
        }
        Ok(())
    }
}

/// Wakes who waits, with the lock let go.
fn wake(mut state: MutexGuard<'_, State>, whom: impl FnOnce(&mut State) -> &mut Option<Waker>) {
    let waker = whom(&mut state).take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}
