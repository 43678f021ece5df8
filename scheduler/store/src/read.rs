//! Reading: consistent snapshots and watches, neither of which ever waits for a writer.

use std::sync::Arc;

use imbl::OrdMap;
use tokio::sync::watch;
use wherry_api::{ObjectKey, Revision};

use crate::memory::Memory;
use crate::object::Entry;
use crate::wake::Focus;

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
    focus: Option<Focus>,
    changed: watch::Receiver<()>,
}

/// How many changes are passed over at once that do not concern a watch.
const PASSED_TOGETHER_MAX: usize = 256;

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
    pub(crate) fn new(
        memory: Arc<Memory>,
        shelf: usize,
        from: Revision,
        focus: Option<Focus>,
    ) -> Result<Self, Expired> {
        memory.changes_after(shelf, from, 0)?;
        let changed = memory.enter(shelf, focus.as_ref());
        Ok(Self { memory, shelf, cursor: from, focus, changed })
    }

    /// The next changes of the resource that concern the focus, in order, at least one, as many as there are among the
    /// next `max` (at least one) of all. Cancelling it loses nothing.
    pub async fn next(&mut self, max: usize) -> Result<Vec<Arc<Change>>, Expired> {
        loop {
            self.changed.mark_unchanged();
            while let Some(batch) = self.batch(max.max(1))? {
                if !batch.is_empty() {
                    return Ok(batch);
                }
            }
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Every change up to this revision was handed out: what a bookmark says. Advances with the store's revision also
    /// while only what does not concern the watch changes.
    pub fn position(&mut self) -> Revision {
        let now = self.memory.revision();
        loop {
            let before = self.cursor;
            match self.batch(PASSED_TOGETHER_MAX) {
                Ok(None) => return self.cursor.max(now),
                Ok(Some(batch)) if batch.is_empty() => {}
                Ok(Some(_)) | Err(_) => {
                    self.cursor = before;
                    return before;
                }
            }
        }
    }

    /// What concerns the focus among the next changes; `None` where there are no more.
    fn batch(&mut self, max: usize) -> Result<Option<Vec<Arc<Change>>>, Expired> {
        let mut batch = self.memory.changes_after(self.shelf, self.cursor, max)?;
        let Some(last) = batch.last() else { return Ok(None) };
        self.cursor = last.revision;
        if let Some(focus) = &self.focus {
            batch.retain(|change| focus.concerns(change));
        }
        Ok(Some(batch))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(focus) = &self.focus {
            self.memory.leave(self.shelf, focus);
        }
    }
}
