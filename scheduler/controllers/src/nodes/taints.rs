//! The taints that a node's conditions and its cordon ask for. Those of others are left alone.

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::Taint;
use wherry_api::kinds::Node;

use super::time;
use crate::plan::Plan;
use crate::world::View;

/// Condition, its status, the taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const KEEPS_AWAY: &str = "NoSchedule";
const DRIVES_AWAY: &str = "NoExecute";

/// Makes the node's taints those that are due; true where they were others.
pub(super) fn keep(view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) -> bool {
    let due = due(node);
    let present = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let is_due = |taint: &&Taint| due.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let is_kept = |taint: &&Taint| !is_ours(taint) || is_due(taint);
    let missing: Vec<_> = due
        .iter()
        .filter(|(key, effect)| !present.iter().any(|taint| taint.key == *key && taint.effect == *effect))
        .collect();
    if missing.is_empty() && present.iter().all(|taint| is_kept(&taint)) {
        return false;
    }
    let kept = present.iter().filter(is_kept).map(|taint| json!(taint));
    let added = missing.iter().map(|(key, effect)| json!({"key": key, "effect": effect, "timeAdded": time(view.now)}));
    let taints: Vec<Value> = kept.chain(added).collect();
    let metadata = json!({"resourceVersion": node.metadata.resource_version});
    plan.merge::<Node>(key, json!({"metadata": metadata, "spec": {"taints": taints}}));
    true
}

/// Keys and effects that are due.
fn due(node: &Node) -> Vec<(&'static str, &'static str)> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut due = Vec::new();
    for (kind, status, key) in BY_CONDITION {
        if conditions.iter().any(|condition| condition.type_ == kind && condition.status == status) {
            due.push((key, KEEPS_AWAY));
            if kind == "Ready" {
                due.push((key, DRIVES_AWAY));
            }
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        due.push((UNSCHEDULABLE, KEEPS_AWAY));
    }
    due
}

fn is_ours(taint: &Taint) -> bool {
    let is_of_condition = BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key);
    match taint.effect.as_str() {
        KEEPS_AWAY => is_of_condition || taint.key == UNSCHEDULABLE,
        DRIVES_AWAY => taint.key == "node.kubernetes.io/not-ready" || taint.key == "node.kubernetes.io/unreachable",
        _ => false,
    }
}
