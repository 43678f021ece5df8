//! The sets of a deployment: finding the one of the present template, making it, numbering it, clearing old ones.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};
use wherry_api::k8s_openapi::api::core::v1::PodTemplateSpec;
use wherry_api::kinds::{Deployment, ReplicaSet};
use wherry_api::{Kind, ObjectKey};

use super::{Rolling, rollout};
use crate::plan::{Plan, Subject};
use crate::replicaset::wanted;
use crate::world::uid;

const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
/// What a set does not take over from its deployment.
const NOT_COPIED: [&str; 4] = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAX];

/// Whether a set was made from the deployment's present template.
pub(crate) fn has_template(set: &ReplicaSet, deployment: &Deployment) -> bool {
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

/// Makes the set of the present template, or brings its number and annotations up to date.
pub(crate) fn keep_new(rolling: &Rolling<'_>, plan: &mut Plan) {
    let revision = next_revision(rolling);
    let annotations = annotations(rolling, revision);
    match rolling.new {
        None => create(rolling, &annotations, plan),
        Some(set) => {
            let present = set.metadata.annotations.clone().unwrap_or_default();
            let mut fresh = annotations.as_object().into_iter().flatten();
            if fresh.any(|(key, value)| present.get(key).map(String::as_str) != value.as_str()) {
                plan.merge::<ReplicaSet>(&set.key(), json!({"metadata": {"annotations": annotations}}));
            }
        }
    }
    let present = rolling.deployment.metadata.annotations.as_ref().and_then(|a| a.get(REVISION));
    if present != Some(&revision.to_string()) {
        let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        plan.merge::<Deployment>(rolling.key, patch);
    }
}

fn create(rolling: &Rolling<'_>, annotations: &Value, plan: &mut Plan) {
    let Some(spec) = &rolling.deployment.spec else { return };
    let hash = template_hash(&spec.template);
    let mut template = serde_json::to_value(&spec.template).unwrap_or_default();
    let mut selector = serde_json::to_value(&spec.selector).unwrap_or_default();
    set_label(&mut template, "/metadata/labels", &hash);
    set_label(&mut selector, "/matchLabels", &hash);
    let labels = template.pointer("/metadata/labels").cloned();
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": rolling.key.name, "uid": uid(&rolling.deployment.metadata),
        "controller": true, "blockOwnerDeletion": true,
    });
    let name = format!("{}-{hash}", rolling.key.name);
    let replicas = rollout::new_replicas(rolling);
    let object = json!({
        "metadata": {
            "name": name, "namespace": rolling.key.namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": spec.min_ready_seconds, "selector": selector, "template": template,
        },
    });
    plan.create::<ReplicaSet>(object, None);
    let subject = Subject::of::<Deployment>(rolling.key, &rolling.deployment.metadata);
    plan.actions.push(subject.told(
        false,
        "ScalingReplicaSet",
        format!("Scaled up replica set {name} from 0 to {replicas}"),
    ));
}

fn set_label(object: &mut Value, at: &str, hash: &str) {
    if let Some(labels) = object.pointer_mut(at).and_then(Value::as_object_mut) {
        labels.insert(HASH.to_owned(), hash.into());
    }
}

/// A name for a template that follows from its content, in the alphabet of generated names.
fn template_hash(template: &PodTemplateSpec) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(template).unwrap_or_default().hash(&mut hasher);
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
    let text = set.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn annotations(rolling: &Rolling<'_>, revision: u64) -> Value {
    let own = rolling.deployment.metadata.annotations.clone().unwrap_or_default();
    let copied = own.into_iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    let mut all: serde_json::Map<String, Value> = copied.map(|(key, value)| (key, value.into())).collect();
    let wanted = rolling.wanted();
    all.insert(REVISION.into(), revision.to_string().into());
    all.insert(DESIRED.into(), wanted.to_string().into());
    all.insert(MAX.into(), (wanted + rollout::surge(rolling)).to_string().into());
    Value::Object(all)
}

/// Removes old sets that are empty and beyond the history's limit, the oldest first.
pub(crate) fn clean_up(rolling: &Rolling<'_>, plan: &mut Plan) {
    let limit = rolling.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let is_empty = |set: &ReplicaSet| {
        let none_left = set.status.as_ref().is_none_or(|status| status.replicas == 0);
        wanted(set) == 0 && none_left && set.metadata.deletion_timestamp.is_none()
    };
    let mut cleared: Vec<_> = rolling.old.iter().filter(|set| is_empty(set)).collect();
    cleared.sort_by_key(|set| revision(set));
    let kept = usize::try_from(limit).unwrap_or(0);
    for set in cleared.iter().take(cleared.len().saturating_sub(kept)) {
        let key: ObjectKey = set.key();
        plan.delete::<ReplicaSet>(&key, &set.metadata, None);
    }
}
