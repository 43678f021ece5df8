//! Carries changes from memory to `state.redb`, behind the answers' backs, so that the log can be cut.
//!
//! One task, which sleeps while nothing changes. Of several changes of one object only the last is written.
//! A failed write is tried again with the next batch: until then the log keeps everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use wherry_api::ObjectKey;

use crate::disk::Fault;
use crate::disk::state::State;
use crate::memory::{Objects, Shelved};
use crate::object::Entry;
use crate::raft::{LogId, Position};
use crate::read::ChangeKind;

/// A batch is written when it is full, or when its first change is so old.
const BATCH_AGE: Duration = Duration::from_secs(2);

/// Changed objects, by shelf and key; none where the object is gone.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) objects: BTreeMap<(usize, ObjectKey), Option<Arc<Entry>>>,
    /// How far the state is with these.
    pub(crate) position: Position,
}

/// What waits to be written, shared by the machine and the checkpoint's task.
pub(crate) struct Pending {
    waiting: Mutex<Waiting>,
    wake: Notify,
    settled: watch::Sender<Option<LogId>>,
    /// How many objects make a batch full.
    full_objects: usize,
}

#[derive(Default)]
struct Waiting {
    batch: Batch,
    /// Comes before the batch.
    replacement: Option<Replacement>,
    is_closing: bool,
}

/// Another state altogether.
struct Replacement {
    objects: Vec<Objects>,
    position: Position,
    /// What the present state lacks, should it have to stay.
    superseded: Batch,
    done: oneshot::Sender<Result<(), Fault>>,
}

enum Work {
    Batch(Batch),
    Replacement(Replacement),
}

impl Pending {
    /// Begins with what is to be removed, and the position of the state.
    pub(crate) fn starting_with(batch: Batch, full_objects: usize) -> Self {
        let settled = watch::Sender::new(batch.position.log_id);
        let waiting = Mutex::new(Waiting { batch, ..Waiting::default() });
        Self { waiting, wake: Notify::new(), settled, full_objects }
    }

    /// Adds durable changes, and how far the state is with them.
    pub(crate) fn add<'a>(&self, changes: impl Iterator<Item = &'a Shelved>, position: &Position) {
        let mut waiting = self.lock();
        let was_empty = waiting.batch.objects.is_empty();
        for (shelf, change) in changes {
            let kept = (change.kind != ChangeKind::Deleted).then(|| Arc::clone(&change.entry));
            waiting.batch.objects.insert((*shelf, change.key.clone()), kept);
        }
        waiting.batch.position = position.clone();
        // The first change starts the batch's age; the last makes it full.
        let due = waiting.batch.objects.len();
        if (was_empty && due > 0) || due >= self.full_objects {
            self.wake.notify_one();
        }
    }

    /// Adds the volatile objects at the end of the store's life: they outlive it if it ends well.
    pub(crate) fn add_last<'a>(&self, objects: impl Iterator<Item = (usize, (&'a ObjectKey, &'a Arc<Entry>))>) {
        let mut waiting = self.lock();
        for (shelf, (key, entry)) in objects {
            waiting.batch.objects.insert((shelf, key.clone()), Some(Arc::clone(entry)));
        }
    }

    /// Replaces the whole state; resolves once that is durable.
    pub(crate) async fn replace(&self, objects: Vec<Objects>, position: Position) -> Result<(), Fault> {
        let (done, is_done) = oneshot::channel();
        {
            let mut waiting = self.lock();
            let rest = Batch { objects: BTreeMap::new(), position: position.clone() };
            let superseded = std::mem::replace(&mut waiting.batch, rest);
            waiting.replacement = Some(Replacement { objects, position, superseded, done });
        }
        self.wake.notify_one();
        is_done.await.unwrap_or_else(|_| Err("the store is closing".into()))
    }

    /// Up to where the log is in the state, durably.
    pub(crate) fn settled(&self) -> watch::Receiver<Option<LogId>> {
        self.settled.subscribe()
    }

    /// Lets the task write what is left, and end.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.wake.notify_one();
    }

    /// The task's work: writes batches until closed, then lets go of the file.
    pub(crate) async fn run(&self, member: u64, state: Arc<State>) {
        while let Some((work, is_last)) = self.next().await {
            match work {
                Work::Replacement(replacement) => self.carry_out(member, &state, replacement).await,
                Work::Batch(batch) => self.write(&state, batch, is_last).await,
            }
        }
        state.close();
    }

    async fn carry_out(&self, member: u64, state: &Arc<State>, replacement: Replacement) {
        let Replacement { objects, position, superseded, done } = replacement;
        let log_id = position.log_id;
        let written = blocking(state, move |state| state.replace(member, &objects, &position)).await;
        match written {
            Ok(()) => _ = self.settled.send_replace(log_id),
            Err(_) => self.lock().batch = superseded,
        }
        let _ = done.send(written);
    }

    async fn write(&self, state: &Arc<State>, batch: Batch, is_last: bool) {
        let batch = Arc::new(batch);
        let written = blocking(state, {
            let batch = Arc::clone(&batch);
            move |state| state.write(&batch)
        });
        match written.await {
            Ok(()) => _ = self.settled.send_replace(batch.position.log_id),
            Err(error) if is_last => tracing::warn!(%error, "the last checkpoint failed; the log has it all"),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; it is tried again");
                self.put_back(&batch).await;
            }
        }
    }

    /// Waits for a batch that is large or old enough, or a replacement; none once closed and nothing is left.
    async fn next(&self) -> Option<(Work, bool)> {
        let mut due = None;
        loop {
            if let Some(found) = self.take(due.is_some_and(|due| due <= Instant::now())) {
                return found;
            }
            match due {
                None if self.lock().batch.objects.is_empty() => self.wake.notified().await,
                None => due = Some(Instant::now() + BATCH_AGE),
                Some(due) => _ = tokio::time::timeout_at(due, self.wake.notified()).await,
            }
        }
    }

    /// What there is to do now; inside, none where that is nothing ever again.
    fn take(&self, is_old: bool) -> Option<Option<(Work, bool)>> {
        let mut waiting = self.lock();
        let is_closing = waiting.is_closing;
        if let Some(replacement) = waiting.replacement.take() {
            return Some(Some((Work::Replacement(replacement), false)));
        }
        if waiting.batch.objects.is_empty() {
            return is_closing.then_some(None);
        }
        let is_due = is_closing || is_old || waiting.batch.objects.len() >= self.full_objects;
        let rest = Batch { objects: BTreeMap::new(), position: waiting.batch.position.clone() };
        is_due.then(|| Some((Work::Batch(std::mem::replace(&mut waiting.batch, rest)), is_closing)))
    }

    /// Newer changes win over those of a batch that could not be written. Waits a moment, for the disk's sake.
    async fn put_back(&self, batch: &Batch) {
        {
            let mut waiting = self.lock();
            if waiting.is_closing {
                return;
            }
            let Waiting { batch: newer, replacement, .. } = &mut *waiting;
            let newer = replacement.as_mut().map_or(newer, |replacement| &mut replacement.superseded);
            for (name, entry) in &batch.objects {
                newer.objects.entry(name.clone()).or_insert_with(|| entry.clone());
            }
        }
        _ = tokio::time::timeout(BATCH_AGE, self.wake.notified()).await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking(
    state: &Arc<State>,
    act: impl FnOnce(&State) -> Result<(), Fault> + Send + 'static,
) -> Result<(), Fault> {
    let state = Arc::clone(state);
    wherry_base::spawn_blocking(move || act(&state)).await.unwrap_or_else(|panic| Err(panic.into()))
}
