//! The sets of a deployment: finding the one of the present template, making it, numbering it, clearing old ones.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};
use wherry_api::k8s_openapi::api::core::v1::PodTemplateSpec;
use wherry_api::kinds::{Deployment, ReplicaSet};
use wherry_api::{Kind, ObjectKey};

use super::{Rolling, claim, rollout};
use crate::plan::{Plan, Subject};
use crate::replicaset::wanted;

const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISIONS: &str = "deployment.kubernetes.io/revision-history";
/// The deployment's size when the set got its own.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
/// What a set does not take over from its deployment.
const NOT_COPIED: [&str; 5] = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISIONS, DESIRED, MAX];
/// How long the list of a set's earlier numbers may be.
const REVISIONS_CHARS_MAX: usize = 2000;

/// Whether a set was made from the deployment's present template.
pub(super) fn has_template(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let own = set.spec.as_ref().and_then(|spec| spec.template.clone());
    let wanted = deployment.spec.as_ref().map(|spec| spec.template.clone());
    own.map(without_hash) == wanted.map(without_hash)
}

fn without_hash(mut template: PodTemplateSpec) -> PodTemplateSpec {
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(HASH);
    }
    template
}

/// Brings the new set's number, annotations and settings up to date; true where that was due.
pub(super) fn keep_new(rolling: &Rolling<'_>, plan: &mut Plan) -> bool {
    let Some(set) = rolling.new else { return false };
    let present = set.metadata.annotations.clone().unwrap_or_default();
    let mut annotations = copied(rolling);
    let number = next_revision(rolling).to_string();
    if present.get(REVISION) != Some(&number) {
        if let Some(before) = present.get(REVISION) {
            annotations.insert(REVISIONS.to_owned(), revisions(present.get(REVISIONS), before));
        }
        annotations.insert(REVISION.to_owned(), number);
    }
    let is_stale = annotations.iter().any(|(key, value)| present.get(key) != Some(value));
    let seconds = rolling.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let is_other = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0) != seconds;
    if is_stale || is_other {
        let metadata = json!({"resourceVersion": set.metadata.resource_version, "annotations": annotations});
        plan.merge::<ReplicaSet>(&set.key(), json!({"metadata": metadata, "spec": {"minReadySeconds": seconds}}));
    }
    is_stale || is_other
}

/// The earlier numbers of a set that comes back, with one more; the oldest go where they are too many.
fn revisions(before: Option<&String>, last: &str) -> String {
    let mut all: Vec<&str> = before.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()).collect();
    all.push(last);
    while all.iter().map(|text| text.len() + 1).sum::<usize>() > REVISIONS_CHARS_MAX {
        all.remove(0);
    }
    all.join(",")
}

/// Numbers the deployment like its new set. Comes last in a plan: it changes the version that the status is for.
pub(super) fn number(rolling: &Rolling<'_>, plan: &mut Plan) {
    let Some(number) = rolling.new.map(|set| revision(set).to_string()) else { return };
    let present = rolling.deployment.metadata.annotations.as_ref().and_then(|a| a.get(REVISION));
    if present != Some(&number) {
        let patch = json!({"metadata": {"annotations": {REVISION: number}}});
        plan.merge::<Deployment>(rolling.key, patch);
    }
}

/// Makes the set of the present template; its name. Where that name is somebody else's, the next is tried later.
pub(super) fn create(rolling: &Rolling<'_>, plan: &mut Plan) -> Option<String> {
    let spec = rolling.deployment.spec.as_ref()?;
    let collisions = rolling.deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = template_hash(&spec.template, collisions);
    let name = format!("{}-{hash}", rolling.key.name);
    if rolling.view.replica_sets.contains_key(&ObjectKey::new(&rolling.key.namespace, &name)) {
        let status = json!({"collisionCount": collisions + 1});
        plan.status::<Deployment>(rolling.key, &rolling.deployment.metadata, status);
        return None;
    }
    let replicas = rollout::new_replicas(rolling);
    plan.create::<ReplicaSet>(new_set(rolling, &name, &hash, replicas)?, None);
    if replicas > 0 {
        tell_scaled(rolling, &name, 0, replicas, plan);
    }
    Some(name)
}

fn new_set(rolling: &Rolling<'_>, name: &str, hash: &str, replicas: i32) -> Option<Value> {
    let spec = rolling.deployment.spec.as_ref()?;
    let mut template = json!(spec.template);
    let mut selector = json!(spec.selector);
    set_label(template.pointer_mut("/metadata/labels"), hash);
    if let Some(map) = selector.as_object_mut() {
        set_label(Some(map.entry("matchLabels").or_insert_with(|| json!({}))), hash);
    }
    let mut annotations = copied(rolling);
    annotations.insert(REVISION.to_owned(), next_revision(rolling).to_string());
    annotations.extend(sizes(rolling));
    Some(json!({
        "metadata": {
            "name": name, "namespace": rolling.key.namespace, "labels": template.pointer("/metadata/labels"),
            "annotations": annotations, "ownerReferences": [claim::reference(rolling.key, rolling.deployment)],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": spec.min_ready_seconds, "selector": selector, "template": template,
        },
    }))
}

fn set_label(labels: Option<&mut Value>, hash: &str) {
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.insert(HASH.to_owned(), hash.into());
    }
}

/// A name for a template that follows from its content, in the alphabet of generated names.
fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(template).unwrap_or_default().hash(&mut hasher);
    if collisions > 0 {
        collisions.hash(&mut hasher);
    }
    let mut rest = hasher.finish();
    let mut letter = || {
        let index = usize::try_from(rest % ALPHABET.len() as u64).unwrap_or(0);
        rest /= ALPHABET.len() as u64;
        ALPHABET.get(index).map_or('x', |&byte| char::from(byte))
    };
    (0..10).map(|_| letter()).collect()
}

/// The number of the present template: a set that comes back gets a new one.
fn next_revision(rolling: &Rolling<'_>) -> u64 {
    let newest_old = rolling.old.iter().map(|set| revision(set)).max().unwrap_or(0);
    let own = rolling.new.map_or(0, |set| revision(set));
    if own > newest_old { own } else { newest_old + 1 }
}

fn revision(set: &ReplicaSet) -> u64 {
    number_in(set, REVISION).unwrap_or(0)
}

/// A number in a set's annotations.
pub(super) fn number_in<N: std::str::FromStr>(set: &ReplicaSet, annotation: &str) -> Option<N> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

fn copied(rolling: &Rolling<'_>) -> BTreeMap<String, String> {
    let own = rolling.deployment.metadata.annotations.clone().unwrap_or_default();
    own.into_iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())).collect()
}

fn sizes(rolling: &Rolling<'_>) -> [(String, String); 2] {
    let most = rolling.wanted() + rollout::surge(rolling);
    [(DESIRED.to_owned(), rolling.wanted().to_string()), (MAX.to_owned(), most.to_string())]
}

/// Sets a set's size, if it is another.
pub(super) fn scale(rolling: &Rolling<'_>, set: &ReplicaSet, to: i32, plan: &mut Plan) {
    if wanted(set) != to {
        resize(rolling, set, to, plan);
    }
}

/// Sets a set's size, and notes the deployment's in it, where either is another.
pub(super) fn resize(rolling: &Rolling<'_>, set: &ReplicaSet, to: i32, plan: &mut Plan) {
    let (from, key) = (wanted(set), set.key());
    let annotations = BTreeMap::from(sizes(rolling));
    let present = set.metadata.annotations.as_ref();
    if from == to && annotations.iter().all(|(key, value)| present.and_then(|own| own.get(key)) == Some(value)) {
        return;
    }
    let metadata = json!({"resourceVersion": set.metadata.resource_version, "annotations": annotations});
    plan.merge::<ReplicaSet>(&key, json!({"metadata": metadata, "spec": {"replicas": to}}));
    if from != to {
        tell_scaled(rolling, &key.name, from, to, plan);
    }
}

fn tell_scaled(rolling: &Rolling<'_>, name: &str, from: i32, to: i32, plan: &mut Plan) {
    let direction = if to > from { "up" } else { "down" };
    let subject = Subject::of::<Deployment>(rolling.key, &rolling.deployment.metadata);
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    plan.actions.push(subject.told(false, "ScalingReplicaSet", message));
}

/// Removes old sets beyond the history's limit, the oldest first; those that are not empty, or not yet seen to be, stay.
pub(super) fn clean_up(rolling: &Rolling<'_>, plan: &mut Plan) {
    let limit = rolling.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let mut alive: Vec<_> = rolling.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    alive.sort_by_key(|set| revision(set));
    let excess = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let is_empty = |set: &ReplicaSet| {
        let status = set.status.clone().unwrap_or_default();
        wanted(set) == 0 && status.replicas == 0 && status.observed_generation >= set.metadata.generation
    };
    for set in alive.into_iter().take(excess).filter(|set| is_empty(set)) {
        plan.delete::<ReplicaSet>(&set.key(), &set.metadata, None);
    }
}
