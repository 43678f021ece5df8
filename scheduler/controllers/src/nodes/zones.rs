//! Zones of nodes, and how fast pods are driven from nodes that went wrong together: one node is broken, half of the nodes
//! are a broken network.
//!
//! Follows `k8s.io/kubernetes/pkg/controller/nodelifecycle` (`ComputeZoneState`, `handleDisruption`): the taints that drive
//! away come to one node of a zone after the other, at a rate that depends on the zone's state. Where no node of the
//! cluster is well, it is the master that is cut off: then nobody is driven away, and nobody for a grace after that.
//!
//! The nodes are counted once for each picture of them, however many look at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use imbl::OrdMap;
use wherry_api::kinds::Node;
use wherry_api::taint::NO_EXECUTE;
use wherry_api::well_known::ZONE;
use wherry_api::{NodeLease, ObjectKey};

use super::{passed, ready};
use crate::plan::Plan;
use crate::world::{Objects, View};

/// How soon a node that must wait for others looks again, at the latest.
const RECHECK: Duration = Duration::from_secs(1);
/// As many nodes may be wrong in any zone without a disruption: in the smallest, half is one.
const WRONG_SPARED: usize = 2;
const REGION: &str = "topology.kubernetes.io/region";
/// What is noted of zones; no node has such a name.
const NOTES: &str = "zone/";

/// When nodes count as unreachable, and how fast their pods are given to others. Rates are in nodes a second.
#[derive(Clone, Copy, Debug)]
pub struct NodeMonitor {
    /// How long a node may be silent.
    pub lease: NodeLease,
    /// The rate of a zone that is well.
    pub eviction_rate: f32,
    /// The rate of a zone of which too many nodes are not ready, if it is large; a small one has none then.
    pub secondary_eviction_rate: f32,
    /// Which part of a zone's nodes is too many.
    pub unhealthy_zone_threshold: f32,
    /// Zones of more nodes are large.
    pub large_cluster_size_threshold: usize,
}

impl Default for NodeMonitor {
    fn default() -> Self {
        Self {
            lease: NodeLease::DEFAULT,
            eviction_rate: 1.0,
            secondary_eviction_rate: 0.1,
            unhealthy_zone_threshold: 0.55,
            large_cluster_size_threshold: 50,
        }
    }
}

/// When the pods of a node that is not ready may be driven away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Now.
    Now,
    /// Not yet; it is to be asked again after this.
    Later(Duration),
    /// Not at all as things are, and if it was said before, no more.
    Withdrawn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Normal,
    Partial,
    Full,
}

/// Region and zone; empty for nodes that name none.
type Name<'a> = (&'a str, &'a str);

#[derive(Debug, Default)]
struct Zone {
    ready: usize,
    wrong: usize,
    /// The first of those that are wrong and whose pods are not driven away yet.
    next: Option<Box<str>>,
}

/// The zones of a picture of the nodes, by what is noted of them.
type Counted = Arc<HashMap<ObjectKey, Zone>>;

/// The zones that were counted last, and in which picture.
pub(super) struct Zones(Mutex<Option<(Objects<Arc<Node>>, Counted)>>);

impl Zones {
    pub(super) const fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// Those of this picture.
    fn of(&self, nodes: &Objects<Arc<Node>>) -> Counted {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, counted)) if Arc::ptr_eq(of, nodes) => Arc::clone(counted),
            _ => Arc::clone(&last.insert((Arc::clone(nodes), Arc::new(count(nodes)))).1),
        }
    }
}

impl Turn {
    /// When to ask again.
    pub(super) const fn recheck(self) -> Duration {
        match self {
            Self::Later(wait) => wait,
            Self::Now | Self::Withdrawn => RECHECK,
        }
    }
}

impl NodeMonitor {
    /// When this node's pods may be driven away; what is noted of it is in the plan.
    pub(super) fn turn(&self, zones: &Zones, view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) -> Turn {
        let zones = zones.of(&view.nodes);
        let cluster = ObjectKey::new(NOTES, "");
        let since = |about: &ObjectKey| view.notes.get(about).map(|note| passed(note.since, view.now));
        if zones.values().all(|zone| self.state(zone) == State::Full) {
            if since(&cluster).is_none_or(|since| !since.is_zero()) {
                plan.note(&cluster, "no node is ready", view.now);
            }
            return Turn::Withdrawn;
        }
        let about = notes(name(node));
        let Some(zone) = zones.get(&about) else { return Turn::Later(RECHECK) };
        let Some(interval) = self.interval(zone) else { return Turn::Later(RECHECK) };
        let left = |of: &ObjectKey, least: Duration| least.saturating_sub(since(of).unwrap_or(Duration::MAX));
        let wait = left(&cluster, self.lease.grace()).max(left(&about, interval));
        if !wait.is_zero() {
            return Turn::Later(wait.min(RECHECK));
        }
        if zone.next.as_ref().is_some_and(|next| *next != key.name) {
            return Turn::Later(interval.min(RECHECK));
        }
        plan.note(&about, &key.name, view.now);
        Turn::Now
    }

    /// Whether so many of all nodes are wrong that it is more than one broken node.
    pub(super) fn is_disrupted(&self, wrong: usize, all: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "numbers of nodes are small")]
        let part = wrong as f32 / all.max(1) as f32;
        wrong > WRONG_SPARED && part >= self.unhealthy_zone_threshold
    }

    fn state(&self, zone: &Zone) -> State {
        if zone.ready == 0 && zone.wrong > 0 {
            State::Full
        } else if self.is_disrupted(zone.wrong, zone.len()) {
            State::Partial
        } else {
            State::Normal
        }
    }

    /// The time between two nodes of a zone; `None` for ever.
    fn interval(&self, zone: &Zone) -> Option<Duration> {
        let rate = match self.state(zone) {
            State::Normal | State::Full => self.eviction_rate,
            State::Partial if zone.len() > self.large_cluster_size_threshold => self.secondary_eviction_rate,
            State::Partial => 0.0,
        };
        Duration::try_from_secs_f32(rate.recip()).ok()
    }
}

impl Zone {
    const fn len(&self) -> usize {
        self.ready + self.wrong
    }
}

/// Counts the nodes of each zone that has any which ever said something.
fn count(nodes: &OrdMap<ObjectKey, Arc<Node>>) -> HashMap<ObjectKey, Zone> {
    let mut zones: BTreeMap<Name<'_>, Zone> = BTreeMap::new();
    // A node that has never said anything runs no pods, and tells nothing of its zone.
    for (key, node, status) in nodes.iter().filter_map(|(key, node)| Some((key, node, ready(node)?))) {
        let zone = zones.entry(name(node)).or_default();
        if status == "True" {
            zone.ready += 1;
            continue;
        }
        zone.wrong += 1;
        if zone.next.is_none() && !is_driven(node) {
            zone.next = Some(key.name.clone());
        }
    }
    zones.into_iter().map(|(name, zone)| (notes(name), zone)).collect()
}

fn name(node: &Node) -> Name<'_> {
    let label = |key| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str);
    (label(REGION), label(ZONE))
}

/// What is noted of a zone.
fn notes((region, name): Name<'_>) -> ObjectKey {
    ObjectKey::new(NOTES, &format!("{region}/{name}"))
}

/// Whether its pods are driven away already.
fn is_driven(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.effect == NO_EXECUTE && super::taints::is_of_readiness(&taint.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_judged_by_its_nodes() {
        let check = |ready: usize, wrong: usize, expected: State, interval: Option<u64>| {
            let zone = Zone { ready, wrong, next: None };
            let monitor = NodeMonitor::default();
            assert_eq!(monitor.state(&zone), expected, "{zone:?}");
            assert_eq!(monitor.interval(&zone), interval.map(Duration::from_secs), "{zone:?}");
        };
        check(3, 0, State::Normal, Some(1));
        check(2, 1, State::Normal, Some(1));
        check(1, 2, State::Normal, Some(1));
        check(0, 1, State::Full, Some(1));
        check(0, 9, State::Full, Some(1));
        check(2, 3, State::Partial, None);
        check(5, 5, State::Normal, Some(1));
        check(22, 28, State::Partial, None);
        check(22, 29, State::Partial, Some(10));
        check(30, 30, State::Normal, Some(1));
    }
}
