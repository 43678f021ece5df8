//! What is on its way to the other end: frames of all exchanges in one buffer, which one task writes.
//!
//! The writer lets all that are ready add theirs first, so that under load many frames share a system call, and the other
//! end's one wake-up.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use wherry_vnet::WriteHalf;

use super::frame::{Frame, FrameError};

/// With so much unsent, heads and bodies wait.
const ROOM_BYTES: usize = 256 * 1024;

/// With so much unsent, which heads and bodies alone never come to, the other end does not read.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// The frames that are to be written.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    unsent: BytesMut,
    is_closed: bool,
    /// Waits for frames.
    writer: Option<Waker>,
    /// Waits for the other end to read.
    blocked: Option<Waker>,
    /// Wait for the writer.
    waiting: Vec<Waker>,
}

impl Outgoing {
    /// Adds a frame. Once closed, it is dropped.
    pub(crate) fn push(&self, frame: &Frame<'_>) -> Result<(), FrameError> {
        let mut state = self.lock();
        if state.is_closed {
            return Ok(());
        }
        frame.encode(&mut state.unsent)?;
        if state.unsent.len() > UNSENT_BYTES_MAX {
            drop(state);
            self.close();
            return Ok(());
        }
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Ready when there is room for a head, or a piece of a body.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_closed || state.unsent.len() < ROOM_BYTES {
            return Poll::Ready(());
        }
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }

    /// Nothing more is written.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.unsent = BytesMut::new();
        let waiting = std::mem::take(&mut state.waiting);
        let writers = [state.writer.take(), state.blocked.take()];
        drop(state);
        waiting.into_iter().chain(writers.into_iter().flatten()).for_each(Waker::wake);
    }

    /// Writes what is pushed, until the other end is gone, or does not read, or this is closed.
    pub(crate) async fn write_to(&self, mut writer: WriteHalf) {
        while let Some(mut bytes) = self.next().await {
            while !bytes.is_empty() {
                let part = bytes.split_to(writer.capacity().min(bytes.len()));
                if part.is_empty() || writer.try_write(part).is_err() {
                    return;
                }
                if !poll_fn(|context| self.poll_writable(&mut writer, context)).await {
                    return;
                }
            }
        }
    }

    async fn next(&self) -> Option<Bytes> {
        poll_fn(|context| self.poll_filled(context)).await;
        // The others that are ready add theirs.
        tokio::task::yield_now().await;
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let bytes = state.unsent.split().freeze();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Some(bytes)
    }

    /// Ready when the other end has read, or need not: whether there is more to be written.
    fn poll_writable(&self, writer: &mut WriteHalf, context: &mut Context<'_>) -> Poll<bool> {
        let written = writer.poll_writable(context);
        let mut state = self.lock();
        if written.is_pending() && !state.is_closed {
            state.blocked = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(!state.is_closed)
    }

    fn poll_filled(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_closed || !state.unsent.is_empty() {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
