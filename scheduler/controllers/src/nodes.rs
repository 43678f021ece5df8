//! Nodes that fall silent: marked unknown and tainted when their lease is old; their pods go when they no longer bear it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::Toleration;
use wherry_api::kinds::{Lease, Node, Pod};

use crate::driver::{Controller, Sources};
use crate::plan::{Plan, Subject};
use crate::world::{View, World};

const LEASES: &str = "kube-node-lease";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(crate) struct NodeLifecycle {
    pub(crate) grace: Duration,
}

impl Controller for NodeLifecycle {
    const NAME: &'static str = "node";

    fn follow(&self, world: &Arc<World>, sources: &Sources) {
        sources.follow_own(&world.nodes);
        sources.follow(&world.leases, |key, _| {
            if *key.namespace == *LEASES { vec![ObjectKey::new("", &key.name)] } else { Vec::new() }
        });
        sources.follow(&world.pods, |_, pod| pod.node.iter().map(|node| ObjectKey::new("", node)).collect());
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(node) = view.nodes.get(key) else {
            evict(view, key, |_| true, &mut plan);
            return plan;
        };
        let silence = view.leases.get(&ObjectKey::new(LEASES, &key.name)).and_then(|lease| silence(view, lease));
        let is_silent = silence.is_some_and(|silence| silence > self.grace);
        if is_silent && ready(node) != Some("Unknown") {
            mark_unknown(view, key, node, &mut plan);
        }
        let taint = match ready(node) {
            Some("True") if !is_silent => None,
            Some("False") if !is_silent => Some(NOT_READY),
            None => None,
            _ => Some(UNREACHABLE),
        };
        keep_taint(view, key, node, taint, &mut plan);
        if let Some(taint) = taint {
            evict_intolerant(view, key, node, taint, &mut plan);
        }
        if let Some(left) = silence.and_then(|silence| self.grace.checked_sub(silence)) {
            plan.look_again(left + Duration::from_millis(100));
        }
        plan
    }
}

/// How long ago a lease was renewed.
fn silence(view: &View, lease: &Lease) -> Option<Duration> {
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?.0;
    let millis = view.now.as_millisecond().saturating_sub(renewed.as_millisecond());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn ready(node: &Node) -> Option<&str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}

fn mark_unknown(view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) {
    let now = view.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut conditions = serde_json::to_value(conditions).unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if condition.get("type").and_then(Value::as_str) == Some("Ready") {
            condition.insert("status".into(), "Unknown".into());
            condition.insert("reason".into(), "NodeStatusUnknown".into());
            condition.insert("message".into(), "Kubelet stopped posting node status.".into());
            condition.insert("lastTransitionTime".into(), now.clone().into());
        }
    }
    plan.status::<Node>(key, &node.metadata, json!({"conditions": conditions}));
    let message = format!("Node {} status is now: NodeNotReady", key.name);
    plan.actions.push(Subject::of::<Node>(key, &node.metadata).told(false, "NodeNotReady", message));
}

/// Exactly one of the two taints, or none; others are left alone.
fn keep_taint(view: &View, key: &ObjectKey, node: &Node, wanted: Option<&str>, plan: &mut Plan) {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let is_ours = |name: &str| name == UNREACHABLE || name == NOT_READY;
    let ours: Vec<&str> = present.iter().map(|taint| taint.key.as_str()).filter(|name| is_ours(name)).collect();
    if ours == wanted.into_iter().collect::<Vec<_>>() {
        return;
    }
    let mut taints: Vec<Value> =
        present.iter().filter(|taint| !is_ours(&taint.key)).map(|taint| json!(taint)).collect();
    if let Some(name) = wanted {
        let now = view.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        taints.push(json!({"key": name, "effect": "NoExecute", "timeAdded": now}));
    }
    plan.merge::<Node>(
        key,
        json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}}),
    );
}

/// Deletes the pods that bear the taint no longer; looks again when the next one's time is over.
fn evict_intolerant(view: &View, key: &ObjectKey, node: &Node, taint: &str, plan: &mut Plan) {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let Some(since) = taints.iter().find(|t| t.key == taint).and_then(|t| t.time_added.as_ref()) else { return };
    let gone = view.now.as_second().saturating_sub(since.0.as_second());
    let mut next = i64::MAX;
    let left = |tolerations: &[Toleration]| {
        let bears = |t: &&Toleration| t.key.as_deref().is_none_or(|own| own.is_empty() || own == taint);
        let longest = tolerations.iter().filter(bears).map(|t| t.toleration_seconds.unwrap_or(i64::MAX)).min();
        longest.unwrap_or(0).saturating_sub(gone)
    };
    for pod in view.pods.values().filter(|pod| pod.node.as_deref() == Some(&*key.name)) {
        let left = left(&pod.tolerations);
        if left > 0 {
            next = next.min(left);
        }
    }
    evict(view, key, |tolerations| left(tolerations) <= 0, plan);
    if next < i64::MAX {
        plan.look_again(Duration::from_secs(u64::try_from(next).unwrap_or(1)));
    }
}

fn evict(view: &View, key: &ObjectKey, chosen: impl Fn(&[Toleration]) -> bool, plan: &mut Plan) {
    let here = view.pods.values().filter(|pod| pod.node.as_deref() == Some(&*key.name) && !pod.is_deleting());
    for pod in here.filter(|pod| chosen(&pod.tolerations)) {
        plan.delete::<Pod>(&pod.key, &pod.meta, None);
    }
}
