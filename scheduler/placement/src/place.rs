//! Places a batch: each pod on the node with the best score at its turn, the batch's own placements included.
//!
//! Pods that ask the same share their work. Nodes are filtered once for each set of rules; for each set of pods
//! alike a heap has the nodes by score. Scores only fall during a batch, so a score computed earlier is an upper
//! bound: the best node is found by renewing the top of the heap until a fresh one stays there.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use wherry_api::ObjectKey;

use crate::{Node, Pod, Resources, Rules, Snapshot, reason, score};

/// The decisions about a batch.
#[derive(Clone, Debug, Default)]
pub struct Placements {
    /// Who goes where, in the order of decision.
    pub bindings: Vec<Binding>,
    /// Who goes nowhere, and why.
    pub unplaceable: Vec<Unplaceable>,
}

/// A pod and its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The pod.
    pub pod: ObjectKey,
    /// The node's name.
    pub node: Arc<str>,
}

/// A pod that no node takes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaceable {
    /// The pod.
    pub pod: ObjectKey,
    /// The reasons of all nodes, as the `PodScheduled` condition's message has them.
    pub why: Arc<str>,
}

/// Decides for every pod of the batch: higher priority first, otherwise in the order given.
pub fn place(snapshot: &Snapshot, pods: &[Pod]) -> Placements {
    let mut turns: Vec<&Pod> = pods.iter().collect();
    turns.sort_by_key(|pod| Reverse(pod.priority));
    let mut batch = Batch::new(snapshot);
    let mut placements = Placements::default();
    for pod in turns {
        match batch.place(pod) {
            Ok(node) => placements.bindings.push(Binding { pod: pod.key.clone(), node }),
            Err(why) => placements.unplaceable.push(Unplaceable { pod: pod.key.clone(), why }),
        }
    }
    placements
}

/// A node during a batch.
struct Seat<'a> {
    node: &'a Node,
    name: Arc<str>,
    free: Resources,
    owners: HashMap<&'a str, i64>,
}

/// A node's place in `Batch::seats`, and a score for it that may be too high by now. The first of equals wins.
type Candidate = (i64, Reverse<usize>);

struct Batch<'a> {
    seats: Vec<Seat<'a>>,
    families: HashMap<(&'a Rules, Resources), Family>,
    queues: HashMap<(&'a Rules, Resources, Option<&'a str>), Queue>,
    placed: usize,
}

/// Pods with the same rules and requests: the nodes that take them, by how they suit any owner.
struct Family {
    /// Each node that the rules accept, with the part of its score that does not change.
    fixed: Vec<(i64, usize)>,
    candidates: Vec<Candidate>,
    /// When the candidates' scores were computed, in placements.
    computed_at: usize,
}

/// Pods with the same rules, requests and owner.
enum Queue {
    Open(BinaryHeap<Candidate>),
    /// No node takes any more of them; free room only shrinks.
    Closed(Arc<str>),
}

impl<'a> Batch<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let seats = snapshot.nodes().map(|(node, load)| {
            let used = load.map(|load| load.used).unwrap_or_default();
            let owners = load.into_iter().flat_map(|load| &load.owners).map(|(owner, count)| (&**owner, *count));
            let free = node.allocatable.minus(used);
            Seat { node, name: (*node.name).into(), free, owners: owners.collect() }
        });
        Self { seats: seats.collect(), families: HashMap::new(), queues: HashMap::new(), placed: 0 }
    }

    fn place(&mut self, pod: &'a Pod) -> Result<Arc<str>, Arc<str>> {
        let name = (&pod.rules, pod.requests, pod.owner.as_deref());
        let mut heap = match self.queues.remove(&name) {
            Some(Queue::Open(heap)) => heap,
            Some(Queue::Closed(why)) => {
                self.queues.insert(name, Queue::Closed(Arc::clone(&why)));
                return Err(why);
            }
            None => self.heap(pod),
        };
        match self.choose(pod, &mut heap) {
            Some(node) => {
                self.queues.insert(name, Queue::Open(heap));
                Ok(node)
            }
            None => {
                let why: Arc<str> = self.explain(pod).into();
                self.queues.insert(name, Queue::Closed(Arc::clone(&why)));
                Err(why)
            }
        }
    }

    /// Takes the best node, and puts it back into the heap with the pod on it.
    fn choose(&mut self, pod: &'a Pod, heap: &mut BinaryHeap<Candidate>) -> Option<Arc<str>> {
        let fixed = &self.families.get(&(&pod.rules, pod.requests))?.fixed;
        while let Some((bound, Reverse(place))) = heap.pop() {
            let Some(seat) = self.seats.get_mut(place) else { continue };
            if !reason::fits(pod.requests, seat.free) {
                continue;
            }
            let score = seat.score(pod, fixed_score(fixed, place));
            if score < bound && heap.peek().is_some_and(|next| (score, Reverse(place)) < *next) {
                heap.push((score, Reverse(place)));
                continue;
            }
            let name = seat.take(pod);
            heap.push((seat.score(pod, fixed_score(fixed, place)), Reverse(place)));
            self.placed += 1;
            return Some(name);
        }
        None
    }

    /// The nodes for pods alike, with scores that are not too low.
    fn heap(&mut self, pod: &'a Pod) -> BinaryHeap<Candidate> {
        let seats = &self.seats;
        let family = self.families.entry((&pod.rules, pod.requests)).or_insert_with(|| Family::new(pod, seats));
        if family.computed_at + seats.len() / 4 < self.placed {
            family.compute(pod, seats, self.placed);
        }
        BinaryHeap::from(family.candidates.clone())
    }

    fn explain(&self, pod: &Pod) -> String {
        reason::summary(pod, self.seats.iter().map(|seat| (seat.node, seat.free)))
    }
}

fn fixed_score(fixed: &[(i64, usize)], place: usize) -> i64 {
    let found = fixed.binary_search_by_key(&place, |(_, place)| *place);
    found.ok().and_then(|at| fixed.get(at)).map_or(0, |(score, _)| *score)
}

impl Family {
    fn new(pod: &Pod, seats: &[Seat<'_>]) -> Self {
        let fits = |(_, seat): &(usize, &Seat<'_>)| reason::unfit(&pod.rules, seat.node).is_none();
        let accepted = seats.iter().enumerate().filter(fits);
        let fixed = accepted.map(|(place, seat)| (score::fixed(&pod.rules, seat.node), place)).collect();
        let mut family = Self { fixed, candidates: Vec::new(), computed_at: 0 };
        family.compute(pod, seats, 0);
        family
    }

    fn compute(&mut self, pod: &Pod, seats: &[Seat<'_>], now: usize) {
        self.computed_at = now;
        let scored = self.fixed.iter().filter_map(|(fixed, place)| {
            let seat = seats.get(*place).filter(|seat| reason::fits(pod.requests, seat.free))?;
            Some((fixed + seat.emptiness(pod), Reverse(*place)))
        });
        self.candidates = scored.collect();
    }
}

impl<'a> Seat<'a> {
    fn emptiness(&self, pod: &Pod) -> i64 {
        score::emptiness(self.node.allocatable, self.free, pod.requests)
    }

    fn score(&self, pod: &Pod, fixed: i64) -> i64 {
        let same = pod.owner.as_deref().and_then(|owner| self.owners.get(owner)).copied().unwrap_or(0);
        fixed + self.emptiness(pod) - score::crowding(same)
    }

    fn take(&mut self, pod: &'a Pod) -> Arc<str> {
        self.free = self.free.minus(pod.requests);
        if let Some(owner) = pod.owner.as_deref() {
            *self.owners.entry(owner).or_default() += 1;
        }
        Arc::clone(&self.name)
    }
}
