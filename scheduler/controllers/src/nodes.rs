//! Nodes that fall silent: their conditions turn unknown, taints say so, and their pods count as ready no longer.
//!
//! Follows `k8s.io/kubernetes/pkg/controller/nodelifecycle`. Silence is counted from when this process saw the lease
//! change, or the node, where its lease is gone, and never by the node's clock: whoever begins to judge gives each node a
//! whole grace. A renewal wakes nobody; a node is looked at when its grace would be over. What the taints do to the pods
//! is `eviction`'s matter, how many nodes they come to at once that of `zones`.

mod adjourn;
mod eviction;
mod flaps;
mod taints;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::kinds::{Node, Pod};
use wherry_api::{NodeLease, ObjectKey};

use crate::driver::{Controller, Sources};
use crate::plan::{Note, Plan, Subject};
use crate::pods::{NODE_LOST, PodRef};
use crate::world::{Bare, Known, Notes, View, World};
use adjourn::Overdue;
pub use zones::NodeMonitor;
use zones::Zones;

const LEASES: &str = NodeLease::NAMESPACE;
/// How much later than at its due time a node is looked at: timers have milliseconds.
const LOOK_LATER: Duration = Duration::from_millis(2);
/// What a kubelet says of its node, and nobody knows once it is silent.
const KUBELETS_OWN: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub(crate) struct NodeLifecycle {
    monitor: NodeMonitor,
    zones: Zones,
    overdue: Overdue,
}

impl Controller for NodeLifecycle {
    const NAME: &'static str = "node-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.nodes);
        let (notes, clock) = (Arc::clone(&world.notes), sources.clock());
        sources.follow_changes(&world.leases, move |key, _, lease: Option<&Bare>| {
            lease.into_iter().for_each(|lease| heard(&notes, key, lease, clock.now()));
            Vec::new()
        });
        // What else becomes of pods is no concern of their nodes.
        sources.follow_changes(&world.pods, |_, old, new| {
            let concern = |pod: &PodRef| (pod.node.clone(), pod.is_node_lost, Arc::clone(&pod.tolerations));
            let is_same = old.map(concern) == new.map(concern);
            let pods = old.into_iter().chain(new).filter(|_| !is_same);
            pods.filter_map(|pod| Some(ObjectKey::new("", pod.node.as_deref()?))).collect()
        });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(node) = view.nodes.get(key) else {
            forget(view, key, &mut plan);
            eviction::clear_away(view, key, &mut plan);
            return plan;
        };
        if view.notes.contains_key(key) {
            plan.forget(key);
        }
        let silence = self.silence(view, key, &mut plan);
        if let Some(late) = silence
            && ready(node) != Some("Unknown")
        {
            if !adjourn::is_adjourned(self, view, key, late, &mut plan) {
                mark_unknown(view, key, node, &mut plan);
            }
            return plan;
        }
        if taints::keep(self, view, key, node, &mut plan) {
            return plan;
        }
        match ready(node) {
            Some("Unknown") => mark_pods(view, key, &mut plan),
            Some("True") if taints::is_held(view, key, node, &mut plan) => {}
            Some("True") => restore_pods(view, key, &mut plan),
            // A kubelet that is there speaks for its pods itself.
            _ => {}
        }
        eviction::evict(view, key, node, silence, &mut plan);
        plan
    }
}

impl NodeLifecycle {
    pub(crate) const fn new(monitor: NodeMonitor) -> Self {
        Self { monitor, zones: Zones::none(), overdue: Overdue::unknown() }
    }

    /// For how long, beyond its grace, nothing was heard of the node; none while that is not over: asks to look again when
    /// it may be.
    fn silence(&self, view: &View, key: &ObjectKey, plan: &mut Plan) -> Option<Duration> {
        let heard = last_heard(view, key);
        if heard.is_none() {
            plan.note(&ObjectKey::new(LEASES, &key.name), "", view.now);
        }
        let (grace, passed) = (self.monitor.lease.grace(), passed(heard.unwrap_or(view.now), view.now));
        if passed < grace {
            plan.look_again(grace - passed + LOOK_LATER);
        }
        passed.checked_sub(grace)
    }
}

/// When the node was heard last, or first judged.
fn last_heard(view: &View, key: &ObjectKey) -> Option<Timestamp> {
    view.notes.get(&ObjectKey::new(LEASES, &key.name)).map(|note| note.since)
}

/// Notes when a lease was renewed: now, if it is another version than the last.
pub(crate) fn heard(notes: &Notes, key: &ObjectKey, lease: &Bare, now: Timestamp) {
    let version = lease.meta().resource_version.as_deref().unwrap_or_default();
    if *key.namespace == *LEASES && notes.get(key).is_none_or(|note| note.what != version) {
        notes.set(key, Some(Note { what: version.to_owned(), since: now }));
    }
}

/// What was noted of a node that is gone is of no use any more.
fn forget(view: &View, key: &ObjectKey, plan: &mut Plan) {
    let [silences, returns] = flaps::notes(key);
    let of_node = [ObjectKey::new(LEASES, &key.name), restored(key), adjourn::notes(key), silences, returns];
    let of_node = of_node.iter().filter(|about| view.notes.contains_key(*about));
    let from_taints = view.notes.range(ObjectKey::new(&key.name, "")..).map(|(about, _)| about);
    let of_taints = from_taints.take_while(|about| about.namespace == key.name);
    of_node.chain(of_taints).for_each(|about| plan.forget(about));
}

/// How long ago something was.
fn passed(since: Timestamp, now: Timestamp) -> Duration {
    let millis = now.as_millisecond().saturating_sub(since.as_millisecond());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(crate) fn ready(node: &Node) -> Option<&str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}

fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn mark_unknown(view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) {
    flaps::count(view, key, last_heard(view, key), plan);
    let present = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let unknown = KUBELETS_OWN.iter().map(|kind| {
        let before = present.iter().find(|condition| condition.type_ == *kind);
        let heartbeat = before.and_then(|before| before.last_heartbeat_time.clone());
        let (reason, message) = match before {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        json!({
            "type": kind, "status": "Unknown", "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": time(view.now),
        })
    });
    let others = present.iter().filter(|condition| !KUBELETS_OWN.contains(&condition.type_.as_str()));
    let conditions: Vec<Value> = unknown.chain(others.map(|condition| json!(condition))).collect();
    plan.status::<Node>(key, &node.metadata, json!({"conditions": conditions}));
    let message = format!("Node {} status is now: NodeNotReady", key.name);
    plan.actions.push(Subject::of::<Node>(key, &node.metadata).told(false, "NodeNotReady", message));
}

/// Pods of a silent node do not count as ready: Services must not choose them.
fn mark_pods(view: &View, key: &ObjectKey, plan: &mut Plan) {
    if view.notes.contains_key(&restored(key)) {
        plan.forget(&restored(key));
    }
    for pod in view.pods_on(&key.name).filter(|pod| pod.ready.is_some()) {
        let message = "the pod's node is not ready";
        let condition = json!({
            "type": "Ready", "status": "False", "reason": NODE_LOST, "message": message,
            "lastTransitionTime": time(view.now),
        });
        plan.conditions::<Pod>(&pod.key, &pod.meta, &json!([condition]));
        let subject = Subject::of::<Pod>(&pod.key, &pod.meta);
        plan.actions.push(subject.told(true, NODE_LOST, "Node is not ready".to_owned()));
    }
}

/// What is noted of a node whose pods need no look: ten thousand of them would cost one with each heartbeat.
fn restored(key: &ObjectKey) -> ObjectKey {
    ObjectKey::new("restored", &key.name)
}

/// The node is back: what was ready for it when it fell silent, and it has said nothing else about since, is again.
fn restore_pods(view: &View, key: &ObjectKey, plan: &mut Plan) {
    if view.notes.contains_key(&restored(key)) {
        return;
    }
    plan.note(&restored(key), "restored", view.now);
    for pod in view.pods_on(&key.name).filter(|pod| pod.is_node_lost) {
        let condition = json!({
            "type": "Ready", "status": "True", "reason": null, "message": null, "lastTransitionTime": time(view.now),
        });
        plan.conditions::<Pod>(&pod.key, &pod.meta, &json!([condition]));
    }
}
