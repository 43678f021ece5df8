//! One direction of a connection: a bounded queue of chunks under a lock that is never held while a task is woken.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::stream::WriteError;

/// How many bytes each direction of a stream holds before its writer must wait.
pub const STREAM_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// What a small chunk is charged at least, so that single bytes cannot pile up by the hundred thousand.
pub(crate) const CHUNK_CHARGE_BYTES_MIN: usize = 256;

/// A waiting writer is woken when the queue is down to this, not at each read: half as many switches of tasks.
const WAKE_WRITER_BYTES: usize = STREAM_BUFFER_BYTES_MAX / 2;

/// Whether more will be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Open,
    Finished,
    Reset,
}

/// Whether anybody reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reader {
    #[default]
    Present,
    Gone,
    GoneWithDataUnread,
}

#[derive(Debug, Default)]
pub(crate) struct Pipe(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    charged: usize,
    end: End,
    reader: Reader,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
}

impl State {
    fn capacity(&self) -> usize {
        let room = STREAM_BUFFER_BYTES_MAX.saturating_sub(self.charged);
        if self.closed() || room < CHUNK_CHARGE_BYTES_MIN { 0 } else { room }
    }

    fn closed(&self) -> bool {
        self.end != End::Open || self.reader != Reader::Present
    }

    fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.charged = 0;
    }
}

fn charge(chunk: &Bytes) -> usize {
    chunk.len().max(CHUNK_CHARGE_BYTES_MIN)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Stores the present task's waker in `slot`.
pub(crate) fn park(slot: &mut Option<Waker>, context: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(context.waker()),
        None => *slot = Some(context.waker().clone()),
    }
}

impl Pipe {
    pub(crate) fn push(&self, chunk: Bytes) -> Result<(), WriteError> {
        let mut state = self.lock();
        if state.closed() {
            return Err(WriteError::Closed);
        }
        if chunk.is_empty() {
            return Ok(());
        }
        let charge = charge(&chunk);
        if state.charged != 0 && state.charged.saturating_add(charge) > STREAM_BUFFER_BYTES_MAX {
            return Err(WriteError::Full);
        }
        state.charged += charge;
        state.chunks.push_back(chunk);
        let waker = state.read_waker.take();
        drop(state);
        wake(waker);
        Ok(())
    }

    /// The next chunk, or how things stand without one.
    pub(crate) fn pop(&self) -> Result<Bytes, End> {
        let mut state = self.lock();
        let Some(chunk) = state.chunks.pop_front() else { return Err(state.end) };
        state.charged -= charge(&chunk);
        let waker = if state.charged <= WAKE_WRITER_BYTES { state.write_waker.take() } else { None };
        drop(state);
        wake(waker);
        Ok(chunk)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lock().capacity()
    }

    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.chunks.is_empty() || state.end != End::Open {
            return Poll::Ready(());
        }
        park(&mut state.read_waker, context);
        Poll::Pending
    }

    pub(crate) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.closed() || state.capacity() > 0 {
            return Poll::Ready(());
        }
        park(&mut state.write_waker, context);
        Poll::Pending
    }

    /// Nothing more is written. A reset overrides an orderly end.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end == End::Open || end == End::Reset {
            state.end = end;
        }
        let wakers = (state.read_waker.take(), state.write_waker.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    /// Nobody reads any more; `unread` says that the reader kept data of its own that it did not pass on.
    pub(crate) fn leave(&self, unread: bool) {
        let mut state = self.lock();
        let unread = unread || !state.chunks.is_empty();
        state.reader = if unread { Reader::GoneWithDataUnread } else { Reader::Gone };
        state.clear();
        let waker = state.write_waker.take();
        drop(state);
        wake(waker);
    }

    pub(crate) fn reader(&self) -> Reader {
        self.lock().reader
    }

    /// Breaks the pipe for both sides.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        state.end = End::Reset;
        state.reader = Reader::Gone;
        state.clear();
        let wakers = (state.read_waker.take(), state.write_waker.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
