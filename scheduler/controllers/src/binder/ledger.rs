//! What the binder knows, kept up to date one change at a time: nodes and their loads, the pods that wait for a turn,
//! and those that no node takes. A change that may make room lets these try again.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use wherry_api::ObjectKey;
use wherry_api::kinds::Node;
use wherry_placement::{Binding, Snapshot};

use crate::pods::PodRef;
use crate::world::uid;

/// A pod's place in the line: higher priority first, then the older one.
type Turn = (Reverse<i32>, Timestamp, ObjectKey);

#[derive(Default)]
pub(crate) struct Ledger {
    snapshot: Snapshot,
    waiting: HashMap<ObjectKey, Waiting>,
    line: BTreeSet<Turn>,
    /// Bindings that were accepted and are not shown yet: the pod's uid and its node.
    assumed: HashMap<ObjectKey, (Box<str>, Arc<str>)>,
}

/// A pod without a node.
struct Waiting {
    pod: PodRef,
    /// Whether no node took it, and nothing has changed since.
    is_parked: bool,
}

impl Ledger {
    /// An empty one that still knows what was bound.
    pub(crate) fn renewed(&mut self) -> Self {
        Self { assumed: std::mem::take(&mut self.assumed), ..Self::default() }
    }

    /// The nodes and what is on them, accepted bindings included.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A node is new, changed, or gone. A heartbeat is no change.
    pub(crate) fn node_changed(&mut self, key: &ObjectKey, node: Option<&Arc<Node>>) {
        let Some(node) = node else { return self.snapshot.remove_node(&key.name) };
        let node = wherry_placement::Node::from(&**node);
        if self.snapshot.node(&key.name) != Some(&node) {
            self.snapshot.set_node(node);
            self.unpark();
        }
    }

    /// A pod is new, changed, or gone.
    pub(crate) fn pod_changed(&mut self, key: &ObjectKey, pod: Option<&PodRef>) {
        let Some(pod) = pod.filter(|pod| !pod.has_ended()) else {
            self.assumed.remove(key);
            self.forget_waiting(key);
            if self.snapshot.remove_pod(key) {
                self.unpark();
            }
            return;
        };
        if let Some(node) = pod.node.as_deref() {
            self.assumed.remove(key);
            self.forget_waiting(key);
            return self.snapshot.set_pod(key, node, pod.asks.requests, pod.asks.owner.clone());
        }
        match self.assumed.get(key) {
            Some((assumed, node)) if **assumed == *uid(&pod.meta) => {
                return self.snapshot.set_pod(key, node, pod.asks.requests, pod.asks.owner.clone());
            }
            Some(_) => {
                // Another pod of that name: the one that was bound is gone.
                self.assumed.remove(key);
                self.snapshot.remove_pod(key);
                self.unpark();
            }
            None => {}
        }
        if pod.is_ours && !pod.is_deleting() { self.wait(pod) } else { self.forget_waiting(key) }
    }

    fn wait(&mut self, pod: &PodRef) {
        let before = self.waiting.remove(&pod.key);
        let asks_alike = |before: &Waiting| {
            uid(&before.pod.meta) == uid(&pod.meta)
                && before.pod.asks.rules == pod.asks.rules
                && before.pod.asks.requests == pod.asks.requests
        };
        let is_parked = before.as_ref().is_some_and(|before| before.is_parked && asks_alike(before));
        if let Some(before) = before {
            self.line.remove(&turn(&before.pod));
        }
        if !is_parked {
            self.line.insert(turn(pod));
        }
        self.waiting.insert(pod.key.clone(), Waiting { pod: pod.clone(), is_parked });
    }

    fn forget_waiting(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.line.remove(&turn(&waiting.pod));
        }
    }

    /// Room may have come: all that wait get a turn.
    fn unpark(&mut self) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.is_parked) {
            waiting.is_parked = false;
            self.line.insert(turn(&waiting.pod));
        }
    }

    /// Takes the first pods out of the line.
    pub(crate) fn take(&mut self, most: usize) -> Vec<PodRef> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((_, _, key)) = self.line.pop_first()
        {
            taken.extend(self.waiting.get(&key).map(|waiting| waiting.pod.clone()));
        }
        taken
    }

    /// A binding was accepted; the pod is returned, if it was known to wait.
    pub(crate) fn bound(&mut self, binding: &Binding) -> Option<PodRef> {
        let Waiting { pod, .. } = self.waiting.remove(&binding.pod)?;
        self.line.remove(&turn(&pod));
        self.snapshot.set_pod(&pod.key, &binding.node, pod.asks.requests, pod.asks.owner.clone());
        self.assumed.insert(pod.key.clone(), (uid(&pod.meta).into(), Arc::clone(&binding.node)));
        Some(pod)
    }

    /// No node takes the pod; it is returned, if it waits still.
    pub(crate) fn park(&mut self, key: &ObjectKey) -> Option<PodRef> {
        let waiting = self.waiting.get_mut(key)?;
        waiting.is_parked = true;
        Some(waiting.pod.clone())
    }

    /// The pod gets another turn.
    pub(crate) fn again(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.waiting.get(key) {
            self.line.insert(turn(&waiting.pod));
        }
    }
}

fn turn(pod: &PodRef) -> Turn {
    (Reverse(pod.asks.priority), pod.created(), pod.key.clone())
}
