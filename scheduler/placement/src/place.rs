//! Places a batch: each pod on the node with the best score at its turn, the batch's own placements included.
//!
//! Pods that ask the same share their work. Nodes are filtered, scored and sorted once for a *family*: pods with the
//! same rules and requests. The pods of one owner in it have a *queue*: the family's list, and a heap with those
//! nodes of it that were looked at. Scores only fall during a batch, so a score computed earlier is an upper bound:
//! the best node is found by renewing the best bound until a fresh one stays the best.

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
    /// Made when the first pod comes: most nodes get none.
    name: Option<Arc<str>>,
    free: Resources,
    /// How many pods each owner had here, and how many came in this batch.
    before: Option<&'a HashMap<Arc<str>, i64>>,
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
    /// The best first.
    candidates: Arc<[Candidate]>,
    /// When the candidates' scores were computed, in placements.
    computed_at: usize,
}

/// Pods with the same rules, requests and owner.
enum Queue {
    Open(Nodes),
    /// No node takes any more of them; free room only shrinks.
    Closed(Arc<str>),
}

/// The nodes for the pods of a queue.
struct Nodes {
    /// Those that were looked at.
    renewed: BinaryHeap<Candidate>,
    /// Those that were not, from `next` on, the best first.
    rest: Arc<[Candidate]>,
    next: usize,
}

impl Nodes {
    fn best(&self) -> Option<Candidate> {
        self.renewed.peek().max(self.rest.get(self.next)).copied()
    }

    fn take_best(&mut self) -> Option<Candidate> {
        match (self.renewed.peek(), self.rest.get(self.next)) {
            (renewed, Some(next)) if renewed < Some(next) => {
                self.next += 1;
                Some(*next)
            }
            _ => self.renewed.pop(),
        }
    }
}

impl<'a> Batch<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let seats = snapshot.nodes().map(|(node, load)| {
            let used = load.map(|load| load.used).unwrap_or_default();
            let free = node.allocatable.minus(used);
            Seat { node, name: None, free, before: load.map(|load| &load.owners), owners: HashMap::new() }
        });
        Self { seats: seats.collect(), families: HashMap::new(), queues: HashMap::new(), placed: 0 }
    }

    fn place(&mut self, pod: &'a Pod) -> Result<Arc<str>, Arc<str>> {
        let name = (&pod.rules, pod.requests, pod.owner.as_deref());
        let mut nodes = match self.queues.remove(&name) {
            Some(Queue::Open(nodes)) => nodes,
            Some(Queue::Closed(why)) => {
                self.queues.insert(name, Queue::Closed(Arc::clone(&why)));
                return Err(why);
            }
            None => self.nodes(pod),
        };
        match self.choose(pod, &mut nodes) {
            Some(node) => {
                self.queues.insert(name, Queue::Open(nodes));
                Ok(node)
            }
            None => {
                let why: Arc<str> = self.explain(pod).into();
                self.queues.insert(name, Queue::Closed(Arc::clone(&why)));
                Err(why)
            }
        }
    }

    /// Takes the best node, and keeps it among the nodes with the pod on it.
    fn choose(&mut self, pod: &'a Pod, nodes: &mut Nodes) -> Option<Arc<str>> {
        let fixed = &self.families.get(&(&pod.rules, pod.requests))?.fixed;
        while let Some((bound, Reverse(place))) = nodes.take_best() {
            let Some(seat) = self.seats.get_mut(place) else { continue };
            if !reason::fits(pod.requests, seat.free) {
                continue;
            }
            let score = seat.score(pod, fixed_score(fixed, place));
            if score < bound && nodes.best().is_some_and(|next| (score, Reverse(place)) < next) {
                nodes.renewed.push((score, Reverse(place)));
                continue;
            }
            let name = seat.take(pod);
            nodes.renewed.push((seat.score(pod, fixed_score(fixed, place)), Reverse(place)));
            self.placed += 1;
            return Some(name);
        }
        None
    }

    /// The nodes for pods alike, with scores that are not too low, and not far too high.
    fn nodes(&mut self, pod: &'a Pod) -> Nodes {
        let seats = &self.seats;
        let family = self.families.entry((&pod.rules, pod.requests)).or_insert_with(|| Family::new(pod, seats));
        // Computing costs all seats once, and each placement since costs every new queue a look: this balances them.
        if family.computed_at + 2 * seats.len().isqrt() < self.placed {
            family.compute(pod, seats, self.placed);
        }
        Nodes { renewed: BinaryHeap::new(), rest: Arc::clone(&family.candidates), next: 0 }
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
        let mut family = Self { fixed, candidates: Arc::default(), computed_at: 0 };
        family.compute(pod, seats, 0);
        family
    }

    fn compute(&mut self, pod: &Pod, seats: &[Seat<'_>], now: usize) {
        self.computed_at = now;
        let scored = self.fixed.iter().filter_map(|(fixed, place)| {
            let seat = seats.get(*place).filter(|seat| reason::fits(pod.requests, seat.free))?;
            Some((fixed + seat.emptiness(pod), Reverse(*place)))
        });
        let mut candidates: Vec<Candidate> = scored.collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.candidates = candidates.into();
    }
}

impl<'a> Seat<'a> {
    fn emptiness(&self, pod: &Pod) -> i64 {
        score::emptiness(self.node.allocatable, self.free, pod.requests)
    }

    fn score(&self, pod: &Pod, fixed: i64) -> i64 {
        let same = pod.owner.as_deref().map_or(0, |owner| {
            let before = self.before.and_then(|before| before.get(owner)).copied().unwrap_or(0);
            before + self.owners.get(owner).copied().unwrap_or(0)
        });
        fixed + self.emptiness(pod) - score::crowding(same)
    }

    fn take(&mut self, pod: &'a Pod) -> Arc<str> {
        self.free = self.free.minus(pod.requests);
        if let Some(owner) = pod.owner.as_deref() {
            *self.owners.entry(owner).or_default() += 1;
        }
        Arc::clone(self.name.get_or_insert_with(|| (*self.node.name).into()))
    }
}
