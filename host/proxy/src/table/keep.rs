//! The task that keeps the table fresh: collects the Services that changed, recomputes those, swaps once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use wherry_api::ObjectKey;
use wherry_client::Informer;

use super::entry::Entry;
use super::facts::{ServiceFacts, SliceFacts, ZoneFacts};
use super::surroundings::Surroundings;
use super::{Snapshot, Table};

/// What the table is made of.
pub(crate) struct Sources {
    pub(crate) services: Informer<ServiceFacts>,
    pub(crate) slices: Informer<SliceFacts>,
    /// This node alone.
    pub(crate) zone: Informer<ZoneFacts>,
}

struct Keeper {
    table: Arc<Table>,
    sources: Sources,
    around: Surroundings,
    slices_of: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    service_of: HashMap<ObjectKey, ObjectKey>,
}

/// What the informers told since the last swap. `all`: too much to list.
#[derive(Default)]
struct Changes {
    services: HashSet<ObjectKey>,
    slices: HashSet<ObjectKey>,
    all: bool,
}

impl Changes {
    fn are_none(&self) -> bool {
        !self.all && self.services.is_empty() && self.slices.is_empty()
    }
}

/// Keeps the table of the node of that name fresh, for ever.
pub(crate) async fn keep(table: Arc<Table>, sources: Sources, node: String) {
    let (mut of_services, mut of_slices) = (sources.services.changes(), sources.slices.changes());
    let mut of_zone = sources.zone.changes();
    sources.services.synced().await;
    sources.slices.synced().await;
    sources.zone.synced().await;
    let around = Surroundings::of(&node);
    let mut keeper = Keeper { table, sources, around, slices_of: HashMap::new(), service_of: HashMap::new() };
    let mut changes = Changes { all: true, ..Changes::default() };
    loop {
        changes.all |= drain(&mut of_services, &mut changes.services);
        changes.all |= drain(&mut of_slices, &mut changes.slices);
        changes.all |= keeper.look_for_zone();
        // Most changes of a node are none of its zone.
        if !changes.are_none() {
            keeper.apply(std::mem::take(&mut changes));
        }
        let ended = tokio::select! {
            key = of_services.recv() => note(key, &mut changes.services),
            key = of_slices.recv() => note(key, &mut changes.slices),
            key = of_zone.recv() => note(key, &mut HashSet::new()),
        };
        match ended {
            Noted::Key => {}
            Noted::TooMany => changes.all = true,
            Noted::Ended => return,
        }
    }
}

enum Noted {
    Key,
    TooMany,
    Ended,
}

fn note(key: Result<ObjectKey, RecvError>, keys: &mut HashSet<ObjectKey>) -> Noted {
    match key {
        Ok(key) => {
            keys.insert(key);
            Noted::Key
        }
        Err(RecvError::Lagged(_)) => Noted::TooMany,
        Err(RecvError::Closed) => Noted::Ended,
    }
}

/// Takes what else is waiting; true if some was lost.
fn drain(receiver: &mut Receiver<ObjectKey>, keys: &mut HashSet<ObjectKey>) -> bool {
    let mut lost = false;
    loop {
        match receiver.try_recv() {
            Ok(key) => drop(keys.insert(key)),
            Err(TryRecvError::Lagged(_)) => lost = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return lost,
        }
    }
}

impl Keeper {
    fn apply(&mut self, changes: Changes) {
        let mut snapshot = if changes.all { Snapshot::default() } else { self.table.snapshot() };
        let dirty = if changes.all { self.start_over() } else { self.dirty(changes) };
        for service in dirty {
            let entry = self.entry(&service);
            snapshot.set(&service, entry);
        }
        self.around.sweep();
        self.table.store(snapshot);
    }

    /// Whether this node is in another zone than before.
    fn look_for_zone(&mut self) -> bool {
        let nodes = self.sources.zone.snapshot();
        self.around.set_zone(nodes.values().next().and_then(|node| node.0.clone()))
    }

    fn start_over(&mut self) -> HashSet<ObjectKey> {
        (self.slices_of, self.service_of) = Default::default();
        for (key, slice) in self.sources.slices.snapshot().iter() {
            self.assign(key, Some(slice.service.clone()));
        }
        self.sources.services.snapshot().keys().cloned().collect()
    }

    fn dirty(&mut self, changes: Changes) -> HashSet<ObjectKey> {
        let mut dirty = changes.services;
        for slice in changes.slices {
            let service = self.sources.slices.get(&slice).map(|facts| facts.service);
            dirty.extend(service.clone());
            dirty.extend(self.assign(&slice, service));
        }
        dirty
    }

    /// Notes whose a slice is; returns whose it was.
    fn assign(&mut self, slice: &ObjectKey, service: Option<ObjectKey>) -> Option<ObjectKey> {
        let old = match &service {
            Some(service) => self.service_of.insert(slice.clone(), service.clone()),
            None => self.service_of.remove(slice),
        };
        if let Some(old) = &old
            && let Some(slices) = self.slices_of.get_mut(old)
        {
            slices.remove(slice);
            if slices.is_empty() {
                self.slices_of.remove(old);
            }
        }
        if let Some(service) = service {
            self.slices_of.entry(service).or_default().insert(slice.clone());
        }
        old
    }

    fn entry(&mut self, service: &ObjectKey) -> Option<Entry> {
        let facts = self.sources.services.get(service)?;
        let keys = self.slices_of.get(service).into_iter().flatten();
        let slices: Vec<SliceFacts> = keys.filter_map(|key| self.sources.slices.get(key)).collect();
        let current = self.table.snapshot();
        Some(Entry::build(&facts, &slices, &mut self.around, current.get(service).map(|old| &**old)))
    }
}
