//! Writes the history down while it happens. Clones write the same one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::history::{Answer, Ask, Call, History, Revision, Seen, Stream};

/// The history so far.
#[derive(Clone, Default)]
pub struct Recorder {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    history: History,
    /// Calls that have begun and not ended.
    open: BTreeMap<usize, Call>,
    begun: usize,
}

/// A call that has begun.
pub struct Begun(usize);

/// A watch that is open.
pub struct Opened(usize);

impl Recorder {
    /// Changes what is known otherwise than by clients.
    pub fn note(&self, change: impl FnOnce(&mut History)) {
        change(&mut self.lock().history);
    }

    pub fn begin(&self, client: usize, now: Duration, ask: Ask) -> Begun {
        let mut inner = self.lock();
        inner.begun += 1;
        let id = inner.begun;
        inner.open.insert(id, Call { client, began: now, ended: now, ask, answer: Answer::Unknown });
        Begun(id)
    }

    pub fn end(&self, call: &Begun, now: Duration, answer: Answer) {
        let mut inner = self.lock();
        if let Some(call) = inner.open.remove(&call.0) {
            inner.history.calls.push(Call { ended: now, answer, ..call });
        }
    }

    pub fn opened(&self, client: usize, now: Duration, from: Revision) -> Opened {
        let mut inner = self.lock();
        let stream = Stream { client, from, seen: Vec::new(), open_since: Some(now) };
        inner.history.streams.push(stream);
        Opened(inner.history.streams.len() - 1)
    }

    pub fn saw(&self, stream: &Opened, seen: Seen) {
        if let Some(stream) = self.lock().history.streams.get_mut(stream.0) {
            stream.seen.push(seen);
        }
    }

    pub fn closed(&self, stream: &Opened) {
        if let Some(stream) = self.lock().history.streams.get_mut(stream.0) {
            stream.open_since = None;
        }
    }

    /// The whole history; calls that have not ended are not known to have, and watches may have been kept waiting until
    /// everything was mended.
    pub fn finish(&self) -> History {
        let mut inner = self.lock();
        let Inner { mut history, open, .. } = std::mem::take(&mut *inner);
        let (end, sound_since) = (history.end.at, history.end.sound_since);
        history.calls.extend(open.into_values().map(|call| Call { ended: end, ..call }));
        for stream in &mut history.streams {
            stream.open_since = stream.open_since.map(|since| since.max(sound_since));
        }
        history
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
