//! The taints that a node's conditions and its cordon ask for. Those of others are left alone.

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::Taint;
use wherry_api::kinds::Node;
use wherry_api::taint::{NO_EXECUTE, NO_SCHEDULE, NOT_READY, UNREACHABLE};

use super::zones::Turn;
use super::{NodeLifecycle, eviction, flaps, ready, time};
use crate::plan::Plan;
use crate::world::View;

/// Condition, its status, the taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Makes the node's taints those that are due; true where they were others.
pub(super) fn keep(of: &NodeLifecycle, view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) -> bool {
    let due = due(of, view, key, node, plan);
    let present = taints(node);
    let is_due = |taint: &&Taint| due.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let is_kept = |taint: &&Taint| !is_ours(taint) || is_due(taint);
    let missing: Vec<_> = due.iter().filter(|(key, effect)| !has(node, key, effect)).collect();
    if missing.is_empty() && present.iter().all(|taint| is_kept(&taint)) {
        return false;
    }
    // To the second is all that the API keeps of the time.
    missing.iter().filter(|(_, effect)| *effect == NO_EXECUTE).for_each(|(taint, _)| {
        plan.note(&eviction::about(key, taint), taint, view.now);
    });
    let kept = present.iter().filter(is_kept).map(|taint| json!(taint));
    let added = missing.iter().map(|(key, effect)| json!({"key": key, "effect": effect, "timeAdded": time(view.now)}));
    let taints: Vec<Value> = kept.chain(added).collect();
    let metadata = json!({"resourceVersion": node.metadata.resource_version});
    plan.merge::<Node>(key, json!({"metadata": metadata, "spec": {"taints": taints}}));
    true
}

/// Keys and effects that are due.
fn due(
    of: &NodeLifecycle,
    view: &View,
    key: &ObjectKey,
    node: &Node,
    plan: &mut Plan,
) -> Vec<(&'static str, &'static str)> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |kind, status| conditions.iter().any(|condition| condition.type_ == kind && condition.status == status);
    let mut due = Vec::new();
    for (kind, _, taint) in BY_CONDITION.into_iter().filter(|(kind, status, _)| holds(*kind, *status)) {
        due.push((taint, NO_SCHEDULE));
        if kind == "Ready" && drives_away(of, view, key, node, taint, plan) {
            due.push((taint, NO_EXECUTE));
        }
    }
    if is_held(view, key, node, plan) {
        due.push((UNREACHABLE, NO_SCHEDULE));
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        due.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    due
}

/// Whether the pods of a node that is not ready are driven away: once they are, unless that is taken back.
fn drives_away(of: &NodeLifecycle, view: &View, key: &ObjectKey, node: &Node, taint: &str, plan: &mut Plan) -> bool {
    let is_driven = has(node, taint, NO_EXECUTE);
    let mut noted = Plan::nothing();
    let turn = of.monitor.turn(&of.zones, view, key, node, &mut noted);
    plan.look_again(turn.recheck());
    match turn {
        Turn::Withdrawn => {
            plan.actions.append(&mut noted.actions);
            false
        }
        Turn::Now if !is_driven => {
            plan.actions.append(&mut noted.actions);
            true
        }
        Turn::Now | Turn::Later(_) => is_driven,
    }
}

/// Whether the node is back from a silence, but was silent too often to be believed yet.
pub(super) fn is_held(view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) -> bool {
    ready(node) == Some("True") && has(node, UNREACHABLE, NO_SCHEDULE) && flaps::is_held(view, key, plan)
}

fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn has(node: &Node, key: &str, effect: &str) -> bool {
    taints(node).iter().any(|taint| taint.key == key && taint.effect == effect)
}

/// Whether a taint says that the node is not ready.
pub(super) fn is_of_readiness(key: &str) -> bool {
    key == NOT_READY || key == UNREACHABLE
}

fn is_ours(taint: &Taint) -> bool {
    let is_of_condition = BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key);
    match taint.effect.as_str() {
        NO_SCHEDULE => is_of_condition || taint.key == UNSCHEDULABLE,
        NO_EXECUTE => is_of_readiness(&taint.key),
        _ => false,
    }
}
