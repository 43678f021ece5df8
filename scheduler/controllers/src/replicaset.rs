//! ReplicaSets: as many pods as wanted, made from the template; surplus pods go, the least useful first.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::kinds::{Pod, ReplicaSet};
use wherry_api::selector::Labels;

use crate::driver::{Controller, Sources};
use crate::plan::{Plan, Subject};
use crate::pods::{Phase, PodRef, PodView};
use crate::world::{View, World, controller, uid, within};

/// How many pods one plan makes at the most; the next follows when they are seen.
const CREATED_TOGETHER_MAX: usize = 500;

pub(crate) struct ReplicaSets;

impl Controller for ReplicaSets {
    const NAME: &'static str = "replicaset";

    fn follow(&self, world: &Arc<World>, sources: &Sources) {
        sources.follow_own(&world.replica_sets);
        let known = Arc::clone(world);
        sources.follow(&world.pods, move |key, pod| match controller(&pod.meta) {
            Some(owner) => vec![ObjectKey::new(&key.namespace, &owner.name)],
            // An orphan may be adopted by any set of its namespace.
            None => within(&known.replica_sets.snapshot(), &key.namespace).map(|(key, _)| key.clone()).collect(),
        });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(set) = view.replica_sets.get(key) else { return plan };
        let Some(spec) = &set.spec else { return plan };
        let Ok(selector) = Labels::from_selector(&spec.selector) else { return plan };
        let pods = claimed(view, key, set, &selector, &mut plan);
        if set.metadata.deletion_timestamp.is_none() {
            replicate(set, key, &pods, &mut plan);
        }
        status(view, set, key, &pods, &mut plan);
        plan
    }
}

/// The set's own active pods; orphans that match are adopted.
fn claimed<'a>(
    view: &'a View,
    key: &'a ObjectKey,
    set: &ReplicaSet,
    selector: &Labels,
    plan: &mut Plan,
) -> Vec<&'a PodRef> {
    let own = uid(&set.metadata);
    let mut pods = Vec::new();
    for (pod_key, pod) in within(&view.pods, &key.namespace) {
        match controller(&pod.meta) {
            Some(owner) if owner.uid == own && pod.is_active() => pods.push(pod),
            None if pod.is_active() && set.metadata.deletion_timestamp.is_none() && selector.matches(pod.labels()) => {
                let patch =
                    json!({"metadata": {"uid": uid(&pod.meta), "ownerReferences": [owner_reference(set, key)]}});
                plan.merge::<Pod>(pod_key, patch);
                pods.push(pod);
            }
            _ => {}
        }
    }
    pods
}

fn replicate(set: &ReplicaSet, key: &ObjectKey, pods: &[&PodRef], plan: &mut Plan) {
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    let subject = Subject::of::<ReplicaSet>(key, &set.metadata);
    for _ in pods.len()..wanted.min(pods.len() + CREATED_TOGETHER_MAX) {
        plan.create::<Pod>(new_pod(set, key), Some(subject.clone()));
    }
    let mut candidates = pods.to_vec();
    candidates.sort_by_key(|pod| usefulness(pod));
    for pod in candidates.iter().take(pods.len().saturating_sub(wanted)) {
        plan.delete::<Pod>(&pod.key, &pod.meta, Some(subject.clone()));
    }
}

/// Kubernetes' order of deletion: without a node, not running, not ready, ready for less long, restarted, younger.
fn usefulness(pod: &PodView) -> impl Ord + use<> {
    let phase = match pod.phase {
        Phase::Running => 2,
        Phase::Unknown => 1,
        _ => 0,
    };
    let since = pod.ready.map(|since| Reverse(since.as_second()));
    (pod.node.is_some(), phase, pod.ready.is_some(), since, Reverse(pod.restarts), Reverse(pod.created().as_second()))
}

fn status(view: &View, set: &ReplicaSet, key: &ObjectKey, pods: &[&PodRef], plan: &mut Plan) {
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = set.spec.as_ref().and_then(|s| s.template.as_ref()).and_then(|t| t.metadata.as_ref());
    let labels = template.and_then(|m| m.labels.clone()).unwrap_or_default();
    let labeled = pods.iter().filter(|pod| labels.iter().all(|(k, v)| pod.labels().get(k) == Some(v))).count();
    let ready = pods.iter().filter(|pod| pod.ready.is_some()).count();
    let available = pods.iter().filter(|pod| pod.is_available(seconds, view.now)).count();
    let fresh = json!({
        "replicas": pods.len(), "fullyLabeledReplicas": labeled, "readyReplicas": ready,
        "availableReplicas": available, "observedGeneration": set.metadata.generation,
    });
    if !same_status(set.status.as_ref(), &fresh) {
        plan.status::<ReplicaSet>(key, &set.metadata, fresh);
    }
    if available < ready {
        plan.look_again(Duration::from_secs(u64::try_from(seconds.max(1)).unwrap_or(1)));
    }
}

/// Whether a status says the same; absent numbers are zero.
pub(crate) fn same_status(present: Option<&impl serde::Serialize>, fresh: &Value) -> bool {
    let present = serde_json::to_value(present).unwrap_or_default();
    let value = |status: &Value, key: &str| match status.get(key) {
        None | Some(Value::Null) => json!(0),
        Some(value) => value.clone(),
    };
    fresh.as_object().is_some_and(|fields| fields.keys().all(|key| value(&present, key) == value(fresh, key)))
}

/// How many pods a set wants.
pub(crate) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn new_pod(set: &ReplicaSet, key: &ObjectKey) -> Value {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    json!({
        "metadata": {
            "namespace": key.namespace, "generateName": format!("{}-", key.name), "labels": metadata.labels,
            "annotations": metadata.annotations, "finalizers": metadata.finalizers,
            "ownerReferences": [owner_reference(set, key)],
        },
        "spec": template.spec,
    })
}

fn owner_reference(set: &ReplicaSet, key: &ObjectKey) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": key.name, "uid": uid(&set.metadata),
        "controller": true, "blockOwnerDeletion": true,
    })
}
