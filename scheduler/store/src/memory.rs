//! What is published: each resource's objects as a persistent map, and the bounded history that watches read.
//!
//! One writer publishes; everyone reads. The order of publication makes reads consistent without a lock: history
//! first, then the maps, then the store's revision, then the wake-up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use imbl::OrdMap;
use tokio::sync::watch;
use wherry_api::{ObjectKey, RESOURCES, Resource, Revision};

use crate::Limits;
use crate::object::Entry;
use crate::read::{Change, Expired, Snapshot};
use crate::wake::{Focus, Waiting};

/// Of volatile resources there is so much less history: a thousand nodes renew two thousand leases a second.
const VOLATILE_PART: usize = 4;

/// A resource's objects.
pub(crate) type Objects = OrdMap<ObjectKey, Arc<Entry>>;

/// One change, and the place of its resource among the shelves.
pub(crate) type Shelved = (usize, Arc<Change>);

/// Everything that readers see.
pub(crate) struct Memory {
    shelves: Vec<Shelf>,
    revision: AtomicU64,
}

/// One resource.
struct Shelf {
    published: ArcSwap<Snapshot>,
    history: RwLock<History>,
    waiting: Waiting,
}

/// The newest changes of one resource, oldest first.
struct History {
    changes: VecDeque<Arc<Change>>,
    /// Changes up to this revision are no longer known.
    forgotten: Revision,
    /// How many of the newest have come since all that wait were woken, whatever they wait for.
    passed: usize,
}

/// The place of a resource's shelf: its row's place in the table.
pub(crate) fn shelf_of(resource: &Resource) -> Option<usize> {
    RESOURCES
        .iter()
        .position(|row| std::ptr::eq(row, resource))
        .or_else(|| RESOURCES.iter().position(|row| row.group == resource.group && row.plural == resource.plural))
}

impl Memory {
    /// What a store shows that has just been opened: objects, and no history.
    pub(crate) fn new(objects: Vec<Objects>, revision: Revision) -> Self {
        let shelves = objects.into_iter().map(|objects| Shelf::new(objects, revision)).collect();
        Self { shelves, revision: AtomicU64::new(revision.0) }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// The map may be newer than the revision read before it, never older.
    pub(crate) fn snapshot(&self, shelf: Option<usize>) -> Snapshot {
        let revision = self.revision();
        match shelf.and_then(|shelf| self.shelves.get(shelf)) {
            Some(shelf) => {
                let published = shelf.published.load();
                Snapshot { revision: revision.max(published.revision), objects: Arc::clone(&published.objects) }
            }
            None => Snapshot { revision, objects: Arc::default() },
        }
    }

    /// The objects as they stood at a revision: the present ones, with every later change undone.
    pub(crate) fn snapshot_at(&self, shelf: Option<usize>, at: Revision) -> Result<Snapshot, Expired> {
        // In this order: the history has every change that the map has.
        let present = self.snapshot(shelf);
        let changes = self.changes_after(shelf.unwrap_or(usize::MAX), at, usize::MAX)?;
        if changes.is_empty() {
            return Ok(Snapshot { revision: at.min(present.revision), ..present });
        }
        let mut objects = Objects::clone(&present.objects);
        for change in changes.iter().rev() {
            match &change.previous {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        Ok(Snapshot { revision: at, objects: Arc::new(objects) })
    }

    /// Up to `max` changes after a revision, oldest first.
    pub(crate) fn changes_after(&self, shelf: usize, from: Revision, max: usize) -> Result<Vec<Arc<Change>>, Expired> {
        let Some(shelf) = self.shelves.get(shelf) else { return Ok(Vec::new()) };
        shelf.history.read().unwrap_or_else(PoisonError::into_inner).after(from, max)
    }

    /// Woken by changes of the resource that concern a focus; see [`Waiting`].
    pub(crate) fn enter(&self, shelf: usize, focus: Option<&Focus>) -> watch::Receiver<()> {
        match self.shelves.get(shelf) {
            Some(shelf) => shelf.waiting.enter(focus),
            None => watch::channel(()).1,
        }
    }

    /// Undoes [`Self::enter`].
    pub(crate) fn leave(&self, shelf: usize, focus: &Focus) {
        if let Some(shelf) = self.shelves.get(shelf) {
            shelf.waiting.leave(focus);
        }
    }

    /// Shows a group of changes, given the maps that they lead to. `revision` is that of the last.
    pub(crate) fn publish(&self, changes: &[Shelved], objects: &[Objects], revision: Revision, keep: &mut Keep) {
        let mut touched = BTreeSet::new();
        for (place, change) in changes {
            self.with_history(*place, |history| history.add(Arc::clone(change)));
            keep.add(*place, change);
            touched.insert(*place);
        }
        for place in &touched {
            let objects = objects.get(*place).cloned().unwrap_or_default();
            if let Some(shelf) = self.shelves.get(*place) {
                shelf.published.store(Arc::new(Snapshot { revision, objects: Arc::new(objects) }));
            }
        }
        self.advance(revision);
        while let Some(place) = keep.forget_one() {
            self.with_history(place, History::forget_oldest);
            touched.insert(place);
        }
        for place in touched {
            let of_shelf = changes.iter().filter(|(other, _)| *other == place).map(|(_, change)| &**change);
            if let Some(shelf) = self.shelves.get(place) {
                shelf.wake(of_shelf);
            }
        }
    }

    /// Shows that nothing changed up to a revision beyond what is shown.
    pub(crate) fn advance(&self, revision: Revision) {
        self.revision.fetch_max(revision.0, Ordering::AcqRel);
    }

    /// Shows other objects of some resources, with no history: whoever watches them must list again. `oldest` is the
    /// first revision from which they can be watched.
    pub(crate) fn replace(
        &self,
        shelves: impl Fn(usize) -> bool,
        objects: &[Objects],
        shown: Revision,
        oldest: Revision,
    ) {
        let replaced: Vec<_> = self.shelves.iter().enumerate().filter(|(place, _)| shelves(*place)).collect();
        for (place, shelf) in &replaced {
            self.with_history(*place, |history| history.forget_all(oldest));
            let objects = objects.get(*place).cloned().unwrap_or_default();
            shelf.published.store(Arc::new(Snapshot { revision: shown, objects: Arc::new(objects) }));
        }
        self.advance(shown);
        for (_, shelf) in &replaced {
            shelf.waiting.wake_all();
        }
    }

    fn with_history(&self, place: usize, act: impl FnOnce(&mut History)) {
        if let Some(shelf) = self.shelves.get(place) {
            act(&mut shelf.history.write().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Shelf {
    fn new(objects: Objects, revision: Revision) -> Self {
        Self {
            published: ArcSwap::from_pointee(Snapshot { revision, objects: Arc::new(objects) }),
            history: RwLock::new(History { changes: VecDeque::new(), forgotten: revision, passed: 0 }),
            waiting: Waiting::default(),
        }
    }

    /// Wakes whom these changes of it concern, or all.
    fn wake<'a>(&self, changes: impl Iterator<Item = &'a Change>) {
        let is_overdue = self.history.write().unwrap_or_else(PoisonError::into_inner).take_overdue();
        let mut changes = changes.peekable();
        if is_overdue {
            self.waiting.wake_all();
        } else if changes.peek().is_some() {
            self.waiting.wake(changes);
        }
    }
}

impl History {
    fn after(&self, from: Revision, max: usize) -> Result<Vec<Arc<Change>>, Expired> {
        if from < self.forgotten {
            return Err(Expired { asked: from, oldest: self.forgotten });
        }
        let start = self.changes.partition_point(|change| change.revision <= from);
        Ok(self.changes.range(start..).take(max).cloned().collect())
    }

    fn add(&mut self, change: Arc<Change>) {
        self.changes.push_back(change);
        self.passed += 1;
    }

    /// Whether who was not woken by the changes that have passed must be now, lest it finds them forgotten.
    fn take_overdue(&mut self) -> bool {
        let is_overdue = self.passed > 0 && self.passed * 2 >= self.changes.len();
        if is_overdue {
            self.passed = 0;
        }
        is_overdue
    }

    fn forget_oldest(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.forgotten = change.revision;
        }
    }

    fn forget_all(&mut self, oldest: Revision) {
        self.changes.clear();
        self.passed = 0;
        self.forgotten = oldest;
    }
}

/// How much history there is, over all resources, and whose turn it is to be forgotten.
pub(crate) struct Keep {
    durable: Turns,
    volatile: Turns,
}

/// The changes in the history, oldest first, as far as there may be.
#[derive(Default)]
struct Turns {
    changes_max: usize,
    bytes_max: usize,
    bytes: usize,
    /// Whose they are, and how long.
    order: VecDeque<(usize, usize)>,
}

impl Keep {
    pub(crate) fn new(limits: &Limits) -> Self {
        let turns = |part: usize| Turns {
            changes_max: limits.watch_history_changes_max / part,
            bytes_max: limits.watch_history_bytes_max / part,
            ..Turns::default()
        };
        Self { durable: turns(1), volatile: turns(VOLATILE_PART) }
    }

    fn add(&mut self, place: usize, change: &Change) {
        let is_volatile = RESOURCES.get(place).is_some_and(|resource| resource.volatile);
        let turns = if is_volatile { &mut self.volatile } else { &mut self.durable };
        let bytes = change.entry.json.len();
        turns.bytes += bytes;
        turns.order.push_back((place, bytes));
    }

    /// Some resources have no history any more.
    pub(crate) fn forget(&mut self, shelves: impl Fn(usize) -> bool) {
        for turns in [&mut self.durable, &mut self.volatile] {
            turns.order.retain(|(place, _)| !shelves(*place));
            turns.bytes = turns.order.iter().map(|(_, bytes)| bytes).sum();
        }
    }

    /// Whose oldest change must go, if any.
    fn forget_one(&mut self) -> Option<usize> {
        self.durable.forget_one().or_else(|| self.volatile.forget_one())
    }
}

impl Turns {
    fn forget_one(&mut self) -> Option<usize> {
        let is_full = self.order.len() > self.changes_max || self.bytes > self.bytes_max;
        let (place, bytes) = if is_full { self.order.pop_front()? } else { return None };
        self.bytes -= bytes;
        Some(place)
    }
}
