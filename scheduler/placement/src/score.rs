//! How well a node suits a pod: one integer, the sum of what is fixed for a batch and what falls as nodes fill up.
//!
//! Scores never rise while a batch is placed, which is what lets [`crate::place`] keep stale ones as upper bounds.

use crate::{Node, Resources, Rules};

/// The full weight of preferred affinity, and of having no advisory taint.
const PREFERENCE: i64 = 2_000;
const NO_ADVICE_AGAINST: i64 = 3_000;
/// What each pod of the same owner on the node takes away: as much as an empty node has over a full one.
const SAME_OWNER: i64 = 1_000;
/// An empty node's score for being empty.
const EMPTY: i64 = 1_000;

/// The part that does not depend on load.
pub(crate) fn fixed(rules: &Rules, node: &Node) -> i64 {
    let most: i64 = rules.preferred.iter().map(|p| i64::from(p.weight)).sum();
    let preference = PREFERENCE * rules.preference(node) / most.max(1);
    let advice = i64::try_from(node.advises_against(&rules.tolerations)).unwrap_or(i64::MAX).min(3);
    preference + NO_ADVICE_AGAINST - advice * NO_ADVICE_AGAINST / 3
}

/// The part that falls as the node fills up: the mean of its free shares with the pod on it.
pub(crate) fn emptiness(allocatable: Resources, free: Resources, requests: Resources) -> i64 {
    let left = free.minus(requests);
    let share = |left: i64, all: i64| if all > 0 { i128::from(left) * i128::from(EMPTY) / i128::from(all) } else { 0 };
    let sum = share(left.cpu_milli, allocatable.cpu_milli)
        + share(left.memory_bytes, allocatable.memory_bytes)
        + share(left.pods, allocatable.pods);
    i64::try_from(sum / 3).unwrap_or(i64::MIN / 2).max(-EMPTY)
}

/// What pods of the same owner on the node take away.
pub(crate) fn crowding(same_owner: i64) -> i64 {
    same_owner.saturating_mul(SAME_OWNER)
}
