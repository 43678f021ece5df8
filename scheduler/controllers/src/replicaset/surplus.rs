//! Which pods go when there are too many: `ActivePodsWithRanks` of `k8s.io/kubernetes/pkg/controller`.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use wherry_api::kinds::ReplicaSet;

use crate::pods::{Phase, PodRef, PodView};
use crate::world::{View, controller, uid, within};

/// The least useful pods, so many of them.
pub(super) fn choose<'a>(view: &View, set: &ReplicaSet, pods: &[&'a PodRef], count: usize) -> Vec<&'a PodRef> {
    let crowds = crowds(view, set);
    let mut candidates = pods.to_vec();
    candidates.sort_by_cached_key(|pod| usefulness(pod, &crowds, view.now));
    candidates.truncate(count);
    candidates
}

/// How many pods of the set, and of others of the same owner, each node has.
fn crowds<'a>(view: &'a View, set: &'a ReplicaSet) -> HashMap<&'a str, usize> {
    let owner = controller(&set.metadata).map(|owner| owner.uid.as_str());
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let is_kin = |other: &ReplicaSet| {
        uid(&other.metadata) == uid(&set.metadata)
            || owner.is_some() && controller(&other.metadata).map(|o| o.uid.as_str()) == owner
    };
    let kin = within(&view.replica_sets, namespace).filter(|(_, other)| is_kin(other));
    let uids: Vec<&str> = kin.map(|(_, other)| uid(&other.metadata)).collect();
    let mut crowds = HashMap::new();
    for pod in uids.into_iter().flat_map(|uid| view.pods_of(uid)).filter(|pod| pod.is_active()) {
        if let Some(node) = pod.node.as_deref() {
            *crowds.entry(node).or_default() += 1;
        }
    }
    crowds
}

/// Without a node, not running, not ready, cheap to delete, many on its node, ready for less long, restarted,
/// younger: these go first. Times count by their order of magnitude; among equals the uid decides.
fn usefulness(pod: &PodView, crowds: &HashMap<&str, usize>, now: Timestamp) -> impl Ord + use<> {
    let phase = match pod.phase {
        Phase::Running => 2,
        Phase::Unknown => 1,
        _ => 0,
    };
    let crowd = pod.node.as_deref().and_then(|node| crowds.get(node)).copied().unwrap_or(0);
    let ready = pod.ready.map_or(0, |since| magnitude(since, now));
    (
        (pod.node.is_some(), phase, pod.ready.is_some(), pod.deletion_cost, Reverse(crowd)),
        (ready, Reverse(pod.restarts), magnitude(pod.created(), now), uid(&pod.meta).to_owned()),
    )
}

/// The order of magnitude of a time that has passed; grows with it.
fn magnitude(since: Timestamp, now: Timestamp) -> u32 {
    let passed = now.as_second().saturating_sub(since.as_second());
    u64::try_from(passed).unwrap_or(0).checked_ilog2().map_or(0, |log| log + 1)
}
