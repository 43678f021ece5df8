//! Carries changes from memory to `state.redb`, behind the answers' backs, so that the log can be cut.
//!
//! One thread, which sleeps while nothing changes. Of several changes of one object only the last is written.
//! A failed write is tried again with the next batch: until then the log keeps everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wherry_api::{ObjectKey, Revision};

use crate::disk::state::State;
use crate::memory::Shelved;
use crate::object::Entry;
use crate::read::ChangeKind;

/// A batch is written when it is full, or when its first change is so old.
const BATCH_AGE: Duration = Duration::from_secs(2);

/// Changed objects, by shelf and key; none where the object is gone.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) objects: BTreeMap<(usize, ObjectKey), Option<Arc<Entry>>>,
    /// The revision of the last change.
    pub(crate) through: u64,
}

/// What waits to be written, shared by the writer and the checkpoint's thread.
pub(crate) struct Pending {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    settled: AtomicU64,
    /// How many objects make a batch full.
    full_objects: usize,
}

#[derive(Default)]
struct Waiting {
    batch: Batch,
    is_closing: bool,
}

impl Pending {
    /// Begins with what the log had beyond the state.
    pub(crate) fn starting_with(batch: Batch, full_objects: usize) -> Self {
        let waiting = Mutex::new(Waiting { batch, is_closing: false });
        Self { waiting, wake: Condvar::new(), settled: AtomicU64::new(0), full_objects }
    }

    /// Adds a group of durable changes.
    pub(crate) fn add<'a>(&self, changes: impl Iterator<Item = &'a Shelved>) {
        let mut waiting = self.lock();
        for (shelf, change) in changes {
            let kept = (change.kind != ChangeKind::Deleted).then(|| Arc::clone(&change.entry));
            waiting.batch.objects.insert((*shelf, change.key.clone()), kept);
            waiting.batch.through = change.revision.0;
        }
        let due = waiting.batch.objects.len();
        drop(waiting);
        if due > 0 {
            self.wake.notify_one();
        }
    }

    /// Adds the volatile objects at the end of the store's life: they outlive it if it ends well.
    pub(crate) fn add_last<'a>(
        &self,
        objects: impl Iterator<Item = (usize, (&'a ObjectKey, &'a Arc<Entry>))>,
        revision: Revision,
    ) {
        let mut waiting = self.lock();
        for (shelf, (key, entry)) in objects {
            waiting.batch.objects.insert((shelf, key.clone()), Some(Arc::clone(entry)));
            waiting.batch.through = revision.0;
        }
    }

    /// Changes up to this revision are in the state, durably.
    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// Lets the thread write what is left, and end.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.wake.notify_one();
    }

    /// The thread's work: writes batches until closed.
    pub(crate) fn run(&self, mut state: State) {
        while let Some((batch, is_last)) = self.next_batch() {
            match state.write(&batch) {
                Ok(()) => self.settled.store(batch.through, Ordering::Release),
                Err(error) if is_last => tracing::warn!(%error, "the last checkpoint failed; the log has it all"),
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint failed; it is tried again");
                    self.put_back(batch);
                }
            }
        }
    }

    /// Waits for a batch that is large or old enough; none once closed and nothing is left.
    fn next_batch(&self) -> Option<(Batch, bool)> {
        let mut waiting = self.lock();
        while waiting.batch.objects.is_empty() {
            if waiting.is_closing {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let is_young = |waiting: &mut Waiting| !waiting.is_closing && waiting.batch.objects.len() < self.full_objects;
        let (mut waiting, _) =
            self.wake.wait_timeout_while(waiting, BATCH_AGE, is_young).unwrap_or_else(PoisonError::into_inner);
        Some((std::mem::take(&mut waiting.batch), waiting.is_closing))
    }

    /// Newer changes win over those of a batch that could not be written. Waits a moment, for the disk's sake.
    fn put_back(&self, batch: Batch) {
        let mut waiting = self.lock();
        for (name, entry) in batch.objects {
            waiting.batch.objects.entry(name).or_insert(entry);
        }
        waiting.batch.through = waiting.batch.through.max(batch.through);
        let until_closing = |waiting: &mut Waiting| !waiting.is_closing;
        drop(self.wake.wait_timeout_while(waiting, BATCH_AGE, until_closing));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
