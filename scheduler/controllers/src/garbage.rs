//! Garbage: objects whose owners are all gone go too; owners wait for their dependents where they were asked to.

use std::sync::Arc;

use serde_json::json;
use wherry_api::kinds::{Kind, ObjectMeta, OwnerReference, Pod, ReplicaSet};
use wherry_api::{ObjectKey, Resource, resource};
use wherry_client::{DeleteOptions, Precondition};

use crate::driver::{Controller, Sources};
use crate::plan::{Action, Plan};
use crate::world::{Known, View, World, uid, within};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Dependents of one kind: `key` is a dependent or an owner of it.
pub(crate) struct Garbage;

impl Controller for Garbage {
    const NAME: &'static str = "garbage";

    /// Keys are namespaces: what belongs together lies together.
    fn follow(&self, world: &Arc<World>, sources: &Sources) {
        let of = |key: &ObjectKey, meta: &ObjectMeta| {
            let matters =
                meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()) || meta.finalizers.is_some();
            if matters { vec![ObjectKey::new("", &key.namespace)] } else { Vec::new() }
        };
        sources.follow(&world.pods, move |key, pod| of(key, &pod.meta));
        sources.follow(&world.slices, move |key, slice| of(key, slice.meta()));
        // An owner that goes leaves garbage whether or not it has owners itself.
        let gone = |key: &ObjectKey| vec![ObjectKey::new("", &key.namespace)];
        sources.follow(&world.replica_sets, move |key, _| gone(key));
        sources.follow(&world.deployments, move |key, _| gone(key));
        sources.follow(&world.services, move |key, _| gone(key));
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let namespace = &key.name;
        for (own, pod) in within(&view.pods, namespace) {
            collect(view, Pod::resource(), own, &pod.meta, &mut plan);
        }
        for (own, set) in within(&view.replica_sets, namespace) {
            collect(view, ReplicaSet::resource(), own, &set.metadata, &mut plan);
            release(view, ReplicaSet::resource(), own, &set.metadata, &mut plan);
        }
        for (own, deployment) in within(&view.deployments, namespace) {
            release(view, wherry_api::kinds::Deployment::resource(), own, &deployment.metadata, &mut plan);
        }
        plan
    }
}

/// Deletes an object all of whose owners are gone, or whose owner waits for it.
fn collect(view: &View, resource: &'static Resource, key: &ObjectKey, meta: &ObjectMeta, plan: &mut Plan) {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() || meta.deletion_timestamp.is_some() {
        return;
    }
    let is_condemned = owners.iter().all(|owner| match present(view, &key.namespace, owner) {
        Some(owner) => is_marked(owner, FOREGROUND),
        None => is_followed(owner),
    });
    if is_condemned {
        let precondition = Precondition { uid: uid(meta).to_owned(), resource_version: String::new() };
        let options = DeleteOptions { precondition, ..DeleteOptions::default() };
        plan.actions.push(Action::Delete { resource, key: key.clone(), options, told_of: None });
    }
}

/// Takes the finalizer off an owner whose dependents are gone, or are orphans now.
fn release(view: &View, resource: &'static Resource, key: &ObjectKey, meta: &ObjectMeta, plan: &mut Plan) {
    if meta.deletion_timestamp.is_none() {
        return;
    }
    let dependents = dependents(view, &key.namespace, uid(meta));
    if is_marked(meta, FOREGROUND) && dependents.is_empty() {
        unmark(resource, key, meta, FOREGROUND, plan);
    }
    if is_marked(meta, ORPHAN) {
        for (resource, key, owners) in dependents {
            let kept: Vec<&OwnerReference> = owners.iter().filter(|owner| owner.uid != uid(meta)).collect();
            let patch = json!({"metadata": {"ownerReferences": kept}});
            plan.actions.push(Action::Merge { resource, key, subresource: "", patch });
        }
        unmark(resource, key, meta, ORPHAN, plan);
    }
}

fn unmark(resource: &'static Resource, key: &ObjectKey, meta: &ObjectMeta, finalizer: &str, plan: &mut Plan) {
    let kept: Vec<&String> = meta.finalizers.iter().flatten().filter(|own| *own != finalizer).collect();
    let patch = json!({"metadata": {"finalizers": kept}});
    plan.actions.push(Action::Merge { resource, key: key.clone(), subresource: "", patch });
}

type Dependent = (&'static Resource, ObjectKey, Vec<OwnerReference>);

fn dependents(view: &View, namespace: &str, owner: &str) -> Vec<Dependent> {
    let of = |resource, key: &ObjectKey, meta: &ObjectMeta| {
        let owners = meta.owner_references.clone().unwrap_or_default();
        owners.iter().any(|own| own.uid == owner).then(|| (resource, key.clone(), owners))
    };
    let pods = within(&view.pods, namespace).filter_map(|(key, pod)| of(Pod::resource(), key, &pod.meta));
    let sets =
        within(&view.replica_sets, namespace).filter_map(|(key, set)| of(ReplicaSet::resource(), key, &set.metadata));
    pods.chain(sets).collect()
}

/// The owner as it is now: of that name and of that uid.
fn present<'a>(view: &'a View, namespace: &str, owner: &OwnerReference) -> Option<&'a ObjectMeta> {
    let row = resource::find_kind(&owner.api_version, &owner.kind)?;
    let key = ObjectKey::new(if row.namespaced { namespace } else { "" }, &owner.name);
    view.meta(row, &key).filter(|meta| uid(meta) == owner.uid)
}

/// Whether its absence means that it is gone: only kinds that are followed can be missed.
fn is_followed(owner: &OwnerReference) -> bool {
    matches!(owner.kind.as_str(), "Deployment" | "ReplicaSet" | "Service" | "Pod" | "Node" | "Namespace")
}

fn is_marked(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|own| own == finalizer)
}
