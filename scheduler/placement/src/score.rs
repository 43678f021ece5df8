//! How well a node suits a pod: one integer, the sum of what is fixed for a batch and what falls as nodes fill up.
//!
//! What is fixed and what the load leaves does not depend on a pod's owner, so that [`crate::place`] computes it once
//! for all pods that ask the same.

use crate::{Node, Resources, Rules};

/// The full weight of preferred affinity, and of having no advisory taint.
const PREFERENCE: i64 = 2_000;
const NO_ADVICE_AGAINST: i32 = 3_000;
/// What each pod of the same owner on the node takes away: as much as an empty node has over a full one.
const SAME_OWNER: i32 = 1_000;
/// More pods of an owner than this on a node make no difference any more: scores are small numbers.
const SAME_OWNER_MAX: i32 = 1_000_000;
/// An empty node's score for being empty.
const EMPTY: i64 = 1_000;

/// The part that does not depend on load.
pub(crate) fn fixed(rules: &Rules, node: &Node) -> i32 {
    let most: i64 = rules.preferred.iter().map(|p| i64::from(p.weight)).sum();
    let preference = PREFERENCE * rules.preference(node) / most.max(1);
    let advice = i32::try_from(node.advises_against(&rules.tolerations)).unwrap_or(i32::MAX).min(3);
    small(preference) + NO_ADVICE_AGAINST - advice * NO_ADVICE_AGAINST / 3
}

/// The part that falls as the node fills up: the mean of its free shares with the pod on it.
pub(crate) fn emptiness(allocatable: Resources, free: Resources, requests: Resources) -> i32 {
    let left = free.minus(requests);
    let share = |left: i64, all: i64| if all > 0 { left.saturating_mul(EMPTY) / all } else { 0 };
    let cpu = share(left.cpu_milli, allocatable.cpu_milli);
    let memory = share(left.memory_bytes, allocatable.memory_bytes);
    let pods = share(left.pods, allocatable.pods);
    small((cpu.saturating_add(memory).saturating_add(pods) / 3).max(-EMPTY))
}

/// What pods of the same owner on the node take away.
pub(crate) fn crowding(same_owner: i32) -> i32 {
    same_owner.min(SAME_OWNER_MAX) * SAME_OWNER
}

/// Both parts are within a few thousand of zero.
fn small(part: i64) -> i32 {
    i32::try_from(part).unwrap_or(0)
}
