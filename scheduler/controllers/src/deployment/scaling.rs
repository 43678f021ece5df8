//! A change of a deployment's size while several sets are active: each gets its share. Follows `sync.go`.

use std::cmp::Reverse;
use std::sync::Arc;

use wherry_api::kinds::ReplicaSet;

use super::sets::{DESIRED, MAX, number_in};
use super::{Rolling, rollout, sets};
use crate::plan::Plan;
use crate::replicaset::wanted;

/// Whether the deployment was resized since its active sets were. With `Recreate` only one set is to be active:
/// where there are more, the rollout goes first.
pub(super) fn is_due(rolling: &Rolling<'_>) -> bool {
    let active = || rolling.all().filter(|set| wanted(set) > 0);
    if rollout::is_recreate(rolling.deployment) && active().count() > 1 {
        return false;
    }
    active().any(|set| number_in(set, DESIRED).is_some_and(|desired: i32| desired != rolling.wanted()))
}

/// Brings the sets to the deployment's size: the only active one, or the old ones to none beside a saturated new
/// one, or all in proportion.
pub(super) fn scale(rolling: &Rolling<'_>, plan: &mut Plan) {
    let active: Vec<_> = rolling.all().filter(|set| wanted(set) > 0).collect();
    let only = match active.as_slice() {
        [] => rolling.new.or_else(|| rolling.old.last().copied()),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(set) = only {
        return sets::resize(rolling, set, rolling.wanted(), plan);
    }
    if rolling.new.is_some_and(|new| is_saturated(rolling, new)) {
        return rolling.old.iter().for_each(|set| sets::scale(rolling, set, 0, plan));
    }
    if !active.is_empty() && !rollout::is_recreate(rolling.deployment) {
        share_out(rolling, active, plan);
    }
}

fn is_saturated(rolling: &Rolling<'_>, new: &ReplicaSet) -> bool {
    let available = new.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    [wanted(new), available, number_in(new, DESIRED).unwrap_or(-1)].iter().all(|count| *count == rolling.wanted())
}

/// Shares what is to be added, or taken away, in proportion to the sets' sizes; the largest gets what is left over.
fn share_out(rolling: &Rolling<'_>, mut active: Vec<&Arc<ReplicaSet>>, plan: &mut Plan) {
    let total: i32 = active.iter().map(|set| wanted(set)).sum();
    let allowed = if rolling.wanted() > 0 { rolling.wanted() + rollout::surge(rolling) } else { 0 };
    let missing = allowed - total;
    let created = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if missing > 0 {
        active.sort_by_key(|set| Reverse((wanted(set), created(set))));
    } else {
        active.sort_by_key(|set| (Reverse(wanted(set)), created(set)));
    }
    let mut given = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(rolling, set, missing, given);
        given += share;
        sizes.push(wanted(set) + share);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + missing - given).max(0);
    }
    active.iter().zip(sizes).for_each(|(set, size)| sets::resize(rolling, set, size, plan));
}

/// A set's part of `missing`, of which `given` is taken.
fn share(rolling: &Rolling<'_>, set: &ReplicaSet, missing: i32, given: i32) -> i32 {
    let left = missing - given;
    let part = proportion(rolling, set);
    match missing {
        0 => 0,
        1.. => part.min(left),
        _ => part.max(left),
    }
}

/// By how much a set grows with the deployment, rounded half away from zero.
fn proportion(rolling: &Rolling<'_>, set: &ReplicaSet) -> i32 {
    let own = wanted(set);
    if rolling.wanted() == 0 {
        return -own;
    }
    let most = i64::from(rolling.wanted() + rollout::surge(rolling));
    let counted = rolling.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let before = i64::from(number_in(set, MAX).filter(|most| *most != 0).unwrap_or(counted));
    if before == 0 {
        return 0;
    }
    let grown = (i64::from(own) * most * 2 + before) / (before * 2);
    i32::try_from(grown).unwrap_or(i32::MAX) - own
}
