//! How many pods each set has next. Follows `k8s.io/kubernetes/pkg/controller/deployment` (rolling.go, recreate.go).

use wherry_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_api::kinds::{Deployment, ReplicaSet};

use super::{Rolling, sets};
use crate::plan::Plan;
use crate::replicaset::wanted;

/// Moves one step: the new set up within the surge, the old ones down within what may be unavailable.
pub(super) fn roll(rolling: &Rolling<'_>, plan: &mut Plan) {
    if is_recreate(rolling.deployment) {
        return recreate(rolling, plan);
    }
    let Some(new) = rolling.new else { return };
    let target = new_replicas(rolling);
    if target == wanted(new) {
        shrink_old(rolling, new, plan);
    } else {
        sets::scale(rolling, new, target, plan);
    }
}

/// Whether the set of a new template may be made: at once, or, for `Recreate`, when the old pods are gone.
pub(super) fn may_begin(rolling: &Rolling<'_>) -> bool {
    !is_recreate(rolling.deployment) || is_cleared(rolling)
}

/// How many pods the new set has next.
pub(super) fn new_replicas(rolling: &Rolling<'_>) -> i32 {
    let goal = rolling.wanted();
    if is_recreate(rolling.deployment) {
        return goal;
    }
    let own = rolling.new.map_or(0, |set| wanted(set));
    if own >= goal {
        return goal;
    }
    let old: i32 = rolling.old.iter().map(|set| wanted(set)).sum();
    let room = goal.saturating_add(surge(rolling)).saturating_sub(old.saturating_add(own));
    own + room.clamp(0, goal - own)
}

fn recreate(rolling: &Rolling<'_>, plan: &mut Plan) {
    rolling.old.iter().for_each(|set| sets::scale(rolling, set, 0, plan));
    if let (true, Some(new)) = (is_cleared(rolling), rolling.new) {
        sets::scale(rolling, new, rolling.wanted(), plan);
    }
}

/// Whether no pod of an old template is there any more, not even one that is ending.
fn is_cleared(rolling: &Rolling<'_>) -> bool {
    rolling.old.iter().all(|set| {
        let is_seen = set.status.as_ref().and_then(|s| s.observed_generation) >= set.metadata.generation;
        let counted = set.status.as_ref().map_or(0, |status| status.replicas);
        wanted(set) == 0 && is_seen && counted == 0 && rolling.pods_of(set).all(|pod| pod.has_ended())
    })
}

/// Old sets lose their unready pods first, all of them, then as many as availability allows, the oldest first.
fn shrink_old(rolling: &Rolling<'_>, new: &ReplicaSet, plan: &mut Plan) {
    let old: i32 = rolling.old.iter().map(|set| wanted(set)).sum();
    let least = rolling.wanted() - unavailable(rolling);
    let unready_new = wanted(new) - available(new);
    let mut removable = old + wanted(new) - least - unready_new;
    if old == 0 || removable <= 0 {
        return;
    }
    let mut sizes: Vec<i32> = rolling.old.iter().map(|set| wanted(set)).collect();
    for (set, size) in rolling.old.iter().zip(&mut sizes) {
        let unready = (*size - available(set)).clamp(0, removable);
        *size -= unready;
        removable -= unready;
    }
    let mut spare = (rolling.all().map(|set| available(set)).sum::<i32>() - least).max(0);
    for size in &mut sizes {
        let ready = (*size).min(spare).min(removable);
        *size -= ready;
        spare -= ready;
        removable -= ready;
    }
    rolling.old.iter().zip(sizes).for_each(|(set, size)| sets::scale(rolling, set, size, plan));
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Whether all old pods go before the new ones come.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How many pods there may be beyond the wanted number.
pub(super) fn surge(rolling: &Rolling<'_>) -> i32 {
    bounds(rolling).0
}

/// How many of the wanted pods may be unavailable.
pub(super) fn unavailable(rolling: &Rolling<'_>) -> i32 {
    bounds(rolling).1
}

/// Percentages round up for the surge and down for the unavailable; both zero would stand still.
fn bounds(rolling: &Rolling<'_>) -> (i32, i32) {
    if is_recreate(rolling.deployment) {
        return (0, 0);
    }
    let strategy = rolling.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let update = strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let wanted = rolling.wanted();
    let surge = resolve(update.max_surge.as_ref(), wanted, true);
    let unavailable = resolve(update.max_unavailable.as_ref(), wanted, false);
    if surge == 0 && unavailable == 0 { (0, 1.min(wanted)) } else { (surge, unavailable.min(wanted)) }
}

fn resolve(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    let percent = |percent: i64| {
        let hundredths = i64::from(of) * percent;
        i32::try_from(if up { (hundredths + 99) / 100 } else { hundredths / 100 }).unwrap_or(i32::MAX)
    };
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => percent(text.trim_end_matches('%').parse().unwrap_or(25)),
        None => percent(25),
    }
}
