//! ReplicaSets: as many pods as wanted, made from the template; surplus pods go, the least useful first.

mod surplus;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::kinds::{ObjectMeta, Pod, ReplicaSet};
use wherry_api::selector::Labels;

use crate::driver::{Controller, Sources};
use crate::plan::{Plan, Subject};
use crate::pods::PodRef;
use crate::world::{View, World, controller, uid, within};

/// How many pods one plan makes or deletes at the most; the next follows when they are seen.
const TOGETHER_MAX: usize = 500;

pub(crate) struct ReplicaSets;

/// A set's pods.
struct Claimed<'a> {
    active: Vec<&'a PodRef>,
    terminating: usize,
}

impl Controller for ReplicaSets {
    const NAME: &'static str = "replicaset-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
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
        let pods = claim(view, key, set, &selector, &mut plan);
        if !plan.actions.is_empty() {
            return plan;
        }
        if set.metadata.deletion_timestamp.is_none() {
            replicate(view, set, key, &pods.active, &mut plan);
        }
        status(view, set, key, &pods, &mut plan);
        plan
    }
}

/// The set's own pods; those that no longer match are released, orphans that match are adopted.
fn claim<'a>(
    view: &'a View,
    key: &'a ObjectKey,
    set: &'a ReplicaSet,
    selector: &Labels,
    plan: &mut Plan,
) -> Claimed<'a> {
    let own = uid(&set.metadata);
    let is_ending = set.metadata.deletion_timestamp.is_some();
    let mut pods = Claimed { active: Vec::new(), terminating: 0 };
    for pod in view.pods_of(own).filter(|pod| pod.key.namespace == key.namespace) {
        if !is_ending && !pod.is_deleting() && !selector.matches(pod.labels()) {
            set_owners(pod, None, own, plan);
        } else if pod.is_active() {
            pods.active.push(pod);
        } else if !pod.has_ended() {
            pods.terminating += 1;
        }
    }
    let is_wanted = |pod: &&PodRef| pod.is_active() && selector.matches(pod.labels());
    for pod in view.free_pods(&key.namespace).filter(|pod| !is_ending && is_wanted(pod)) {
        set_owners(pod, Some(owner_reference(set, key)), own, plan);
    }
    pods
}

/// Changes who controls a pod, if it is still the pod that was looked at; other owners stay.
fn set_owners(pod: &PodRef, controller: Option<Value>, own: &str, plan: &mut Plan) {
    let others = pod.meta.owner_references.iter().flatten().filter(|owner| owner.uid != own);
    let owners: Vec<Value> = others.map(|owner| json!(owner)).chain(controller).collect();
    let ObjectMeta { uid, resource_version, .. } = &pod.meta;
    let metadata = json!({"uid": uid, "resourceVersion": resource_version, "ownerReferences": some(owners)});
    plan.merge::<Pod>(&pod.key, json!({"metadata": metadata}));
}

fn replicate(view: &View, set: &ReplicaSet, key: &ObjectKey, pods: &[&PodRef], plan: &mut Plan) {
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    let subject = Subject::of::<ReplicaSet>(key, &set.metadata);
    for _ in pods.len()..wanted.min(pods.len() + TOGETHER_MAX) {
        plan.create::<Pod>(new_pod(set, key), Some(subject.clone()));
    }
    let excess = pods.len().saturating_sub(wanted);
    if excess > 0 {
        for pod in surplus::choose(view, set, pods, excess.min(TOGETHER_MAX)) {
            plan.delete::<Pod>(&pod.key, &pod.meta, Some(subject.clone()));
        }
    }
}

fn status(view: &View, set: &ReplicaSet, key: &ObjectKey, pods: &Claimed<'_>, plan: &mut Plan) {
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = set.spec.as_ref().and_then(|s| s.template.as_ref()).and_then(|t| t.metadata.as_ref());
    let labels = template.and_then(|m| m.labels.clone()).unwrap_or_default();
    let has_labels = |pod: &&&PodRef| labels.iter().all(|(k, v)| pod.labels().get(k) == Some(v));
    let ready = pods.active.iter().filter_map(|pod| pod.ready);
    let available = pods.active.iter().filter(|pod| pod.is_available(seconds, view.now)).count();
    let fresh = json!({
        "replicas": pods.active.len(), "fullyLabeledReplicas": nonzero(pods.active.iter().filter(has_labels).count()),
        "readyReplicas": nonzero(ready.clone().count()), "availableReplicas": nonzero(available),
        "terminatingReplicas": pods.terminating, "observedGeneration": set.metadata.generation,
    });
    if set.status.is_none() || !same_status(set.status.as_ref(), &fresh) {
        plan.status::<ReplicaSet>(key, &set.metadata, fresh);
    }
    let now = view.now.as_second();
    let due = ready.map(|since| since.as_second().saturating_add(i64::from(seconds)) - now).filter(|left| *left > 0);
    if let Some(left) = due.min() {
        plan.look_again(Duration::from_secs(u64::try_from(left).unwrap_or(1)));
    }
}

/// A list as objects have it: nothing for an empty one.
pub(crate) fn some(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

/// A count as statuses have it: nothing for none.
pub(crate) fn nonzero(count: impl Into<Value>) -> Value {
    let count = count.into();
    if count == 0 { Value::Null } else { count }
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
