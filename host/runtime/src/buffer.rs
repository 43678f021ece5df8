//! A container's output between the guest's threads, which append, and the one thread that writes files.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::{LogLines, StdStream};

/// How much waits for the writing thread before the guest's thread writes by itself.
const PENDING_BYTES_MAX: usize = 256 << 10;

/// What a container has printed and nobody has written yet.
#[derive(Default)]
pub struct LogBuffer(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    lines: LogLines,
    queued: bool,
}

impl LogBuffer {
    /// Takes a chunk that was printed at `now`. Where the writing thread is to be told, `hand_over` does it and says
    /// whether there was room. True: the caller must write what is ready by itself.
    pub fn push(&self, stream: StdStream, chunk: &[u8], now: Timestamp, hand_over: impl FnOnce() -> bool) -> bool {
        let mut pending = self.lock();
        pending.lines.push(stream, chunk, now);
        let crowded = pending.lines.ready_bytes() > PENDING_BYTES_MAX;
        let is_due = !pending.queued && pending.lines.ready_bytes() > 0;
        pending.queued |= is_due;
        drop(pending);
        let handed_over = !is_due || hand_over();
        crowded || !handed_over
    }

    /// Lines that never ended become records without an end.
    pub fn finish(&self, now: Timestamp) {
        self.lock().lines.finish(now);
    }

    /// Takes the records that are ready.
    pub fn take_ready(&self) -> Vec<u8> {
        let mut pending = self.lock();
        pending.queued = false;
        pending.lines.take_ready()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
