//! Which sets are a deployment's: those that name it as their controller, and orphans that its selector matches.

use serde_json::{Value, json};
use wherry_api::kinds::{Deployment, OwnerReference, ReplicaSet};
use wherry_api::selector::Labels;
use wherry_api::{Kind, ObjectKey};

use crate::plan::Plan;
use crate::replicaset::some;
use crate::world::{controller, uid};

/// Whether the set counts as the deployment's; adopts and releases where that is due.
pub(super) fn is_claimed(deployment: &Deployment, key: &ObjectKey, set: &ReplicaSet, plan: &mut Plan) -> bool {
    let own = uid(&deployment.metadata);
    let is_ending = deployment.metadata.deletion_timestamp.is_some() || set.metadata.deletion_timestamp.is_some();
    match controller(&set.metadata) {
        Some(owner) if owner.uid != own => false,
        Some(_) if is_ending || is_selected(deployment, set) => true,
        Some(_) => {
            let kept = owners(set).filter(|owner| owner.uid != own).map(|owner| json!(owner)).collect();
            set_owners(set, kept, plan);
            false
        }
        None if is_ending || !is_selected(deployment, set) => false,
        None => {
            let mut all: Vec<Value> = owners(set).map(|owner| json!(owner)).collect();
            all.push(reference(key, deployment));
            set_owners(set, all, plan);
            true
        }
    }
}

fn is_selected(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let selector = deployment.spec.as_ref().map(|spec| Labels::from_selector(&spec.selector));
    let labels = set.metadata.labels.clone().unwrap_or_default();
    selector.is_some_and(|selector| selector.is_ok_and(|selector| !selector.is_empty() && selector.matches(&labels)))
}

fn owners(set: &ReplicaSet) -> impl Iterator<Item = &OwnerReference> {
    set.metadata.owner_references.iter().flatten()
}

fn set_owners(set: &ReplicaSet, owners: Vec<Value>, plan: &mut Plan) {
    let version = &set.metadata.resource_version;
    let patch = json!({"metadata": {"resourceVersion": version, "ownerReferences": some(owners)}});
    plan.merge::<ReplicaSet>(&set.key(), patch);
}

/// The deployment as an owner.
pub(super) fn reference(key: &ObjectKey, deployment: &Deployment) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": key.name, "uid": uid(&deployment.metadata),
        "controller": true, "blockOwnerDeletion": true,
    })
}
