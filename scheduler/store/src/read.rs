//! Reading: consistent snapshots and watches, neither of which ever waits for a writer.

use std::sync::Arc;

use imbl::OrdMap;
use tokio::sync::watch;
use wherry_api::{ObjectKey, Revision};

use crate::memory::Memory;
use crate::object::Entry;

/// All objects of one resource at one revision.
#[derive(Clone)]
pub struct Snapshot {
    /// The revision of the whole store at that moment.
    pub revision: Revision,
    /// The objects, by namespace and name.
    pub objects: Arc<OrdMap<ObjectKey, Arc<Entry>>>,
}

/// One change of one object. Shared by all watches.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// Its revision.
    pub revision: Revision,
    /// What happened.
    pub kind: ChangeKind,
    /// The new state; for a deletion the last one, with the deletion's revision.
    pub entry: Arc<Entry>,
    /// The state before: whether a selector's view gained or lost the object is decided from both.
    pub previous: Option<Arc<Entry>>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// There was none of that name before.
    Created,
    /// It changed.
    Updated,
    /// It is gone.
    Deleted,
}

/// A watch reads the shared history at its own pace: nothing is queued for it.
pub struct Watch {
    memory: Arc<Memory>,
    shelf: usize,
    /// Every change up to here was handed out.
    cursor: Revision,
    changed: watch::Receiver<()>,
}

/// The revision is older than the history, or the watch fell behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// What was asked for.
    pub asked: Revision,
    /// The oldest that is known.
    pub oldest: Revision,
}

impl Watch {
    pub(crate) fn new(memory: Arc<Memory>, shelf: usize, from: Revision) -> Result<Self, Expired> {
        memory.changes_after(shelf, from, 0)?;
        let changed = memory.subscribe(shelf);
        Ok(Self { memory, shelf, cursor: from, changed })
    }

    /// The next changes of the resource, in order, at least one, in as large a batch as there is (up to `max`,
    /// at least one). Cancelling it loses nothing.
    pub async fn next(&mut self, max: usize) -> Result<Vec<Arc<Change>>, Expired> {
        loop {
            self.changed.mark_unchanged();
            let batch = self.memory.changes_after(self.shelf, self.cursor, max.max(1))?;
            if let Some(last) = batch.last() {
                self.cursor = last.revision;
                return Ok(batch);
            }
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Every change of the resource up to this revision was handed out: what a bookmark says. Advances with the
    /// store's revision also while only other resources change.
    pub fn position(&self) -> Revision {
        let now = self.memory.revision();
        match self.memory.changes_after(self.shelf, self.cursor, 1) {
            Ok(batch) if batch.is_empty() => self.cursor.max(now),
            _ => self.cursor,
        }
    }
}
