//! How many pods each set has next. Follows `k8s.io/kubernetes/pkg/controller/deployment` (rolling.go, recreate.go).

use serde_json::json;
use wherry_api::Kind;
use wherry_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_api::kinds::{Deployment, ReplicaSet};

use super::Rolling;
use crate::plan::{Plan, Subject};
use crate::replicaset::wanted;

/// Moves one step: the new set up within the surge, the old ones down within what may be unavailable.
pub(crate) fn roll(rolling: &Rolling<'_>, plan: &mut Plan) {
    let Some(new) = rolling.new else {
        if is_recreate(rolling) {
            rolling.old.iter().for_each(|set| scale(rolling, set, 0, plan));
        }
        return;
    };
    if is_recreate(rolling) {
        return recreate(rolling, new, plan);
    }
    let target = new_replicas(rolling);
    if target != wanted(new) {
        return scale(rolling, new, target, plan);
    }
    shrink_old(rolling, new, plan);
}

/// How many pods the new set has next.
pub(crate) fn new_replicas(rolling: &Rolling<'_>) -> i32 {
    let goal = rolling.wanted();
    let old: i32 = rolling.old.iter().map(|set| wanted(set)).sum();
    if is_recreate(rolling) {
        return if old == 0 { goal } else { 0 };
    }
    let own = rolling.new.map_or(0, |set| wanted(set));
    if own >= goal {
        return goal;
    }
    let room = goal + surge(rolling) - (old + own);
    own + room.clamp(0, goal - own)
}

fn recreate(rolling: &Rolling<'_>, new: &ReplicaSet, plan: &mut Plan) {
    let alive: i32 = rolling.old.iter().map(|set| set.status.as_ref().map_or(0, |status| status.replicas)).sum();
    let asked: i32 = rolling.old.iter().map(|set| wanted(set)).sum();
    if asked > 0 {
        return rolling.old.iter().for_each(|set| scale(rolling, set, 0, plan));
    }
    if alive == 0 {
        scale(rolling, new, rolling.wanted(), plan);
    }
}

/// Old sets lose their unready pods first, then as many as availability allows.
fn shrink_old(rolling: &Rolling<'_>, new: &ReplicaSet, plan: &mut Plan) {
    let available = |set: &ReplicaSet| set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0);
    let old: i32 = rolling.old.iter().map(|set| wanted(set)).sum();
    if old == 0 {
        return;
    }
    let least = rolling.wanted() - unavailable(rolling);
    let unready_new = wanted(new) - available(new);
    let mut removable = old + wanted(new) - least - unready_new;
    let mut spare = rolling.all().map(|set| available(set)).sum::<i32>() - least;
    for set in &rolling.old {
        let own = wanted(set);
        let unready = (own - available(set)).clamp(0, removable.max(0));
        let ready = (own - unready).min((removable - unready).max(0)).min(spare.max(0));
        removable -= unready + ready;
        spare -= ready;
        scale(rolling, set, own - unready - ready, plan);
    }
}

/// While paused, a change of the deployment's size is shared out over its sets.
pub(crate) fn scale_in_proportion(rolling: &Rolling<'_>, plan: &mut Plan) {
    let total: i32 = rolling.all().map(|set| wanted(set)).sum();
    let is_rolling = rolling.old.iter().any(|set| wanted(set) > 0);
    let goal = rolling.wanted() + if is_rolling { surge(rolling) } else { 0 };
    if (rolling.wanted()..=goal).contains(&total) {
        return;
    }
    let (mut left, mut rest) = (goal, total);
    for set in rolling.all().filter(|set| wanted(set) > 0) {
        let own = wanted(set);
        let share = (left * own + rest / 2) / rest.max(1);
        (left, rest) = (left - share, rest - own);
        scale(rolling, set, share, plan);
    }
}

fn scale(rolling: &Rolling<'_>, set: &ReplicaSet, to: i32, plan: &mut Plan) {
    let from = wanted(set);
    if from == to {
        return;
    }
    let key = set.key();
    plan.merge::<ReplicaSet>(&key, json!({"spec": {"replicas": to}}));
    let direction = if to > from { "up" } else { "down" };
    let subject = Subject::of::<Deployment>(rolling.key, &rolling.deployment.metadata);
    let message = format!("Scaled {direction} replica set {} from {from} to {to}", key.name);
    plan.actions.push(subject.told(false, "ScalingReplicaSet", message));
}

fn is_recreate(rolling: &Rolling<'_>) -> bool {
    let strategy = rolling.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How many pods there may be beyond the wanted number.
pub(crate) fn surge(rolling: &Rolling<'_>) -> i32 {
    bounds(rolling).0
}

/// How many of the wanted pods may be unavailable.
pub(crate) fn unavailable(rolling: &Rolling<'_>) -> i32 {
    bounds(rolling).1
}

/// Percentages round up for the surge and down for the unavailable; both zero would stand still.
fn bounds(rolling: &Rolling<'_>) -> (i32, i32) {
    if is_recreate(rolling) {
        return (0, rolling.wanted());
    }
    let strategy = rolling.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let update = strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let surge = resolve(update.max_surge.as_ref(), rolling.wanted(), true);
    let unavailable = resolve(update.max_unavailable.as_ref(), rolling.wanted(), false).min(rolling.wanted());
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn resolve(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    let percent = |percent: i32| if up { (of * percent + 99) / 100 } else { of * percent / 100 };
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => percent(text.trim_end_matches('%').parse().unwrap_or(25)),
        None => percent(25),
    }
}
