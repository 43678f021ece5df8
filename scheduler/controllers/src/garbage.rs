//! Garbage: objects whose owners are all gone go too; owners wait for their dependents where they were asked to.
//!
//! Follows `k8s.io/kubernetes/pkg/controller/garbagecollector`. A key is an object: one that has owners, one that ends,
//! or one that is gone. Every kind of the table is looked at but events, which own nothing and are nobody's.

use std::sync::Arc;

use serde_json::json;
use wherry_api::kinds::{Event, Kind, ObjectMeta, OwnerReference};
use wherry_api::{ObjectKey, Resource, resource};
use wherry_client::{DeleteOptions, Informer, Precondition, Propagation};

use crate::driver::{Controller, Sources};
use crate::plan::{Action, Item, Plan, Subject, SubjectKind};
use crate::replicaset::some;
use crate::world::{Known, View, World, uid};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub(crate) struct Garbage;

impl Controller for Garbage {
    const NAME: &'static str = "garbage-collector-controller";
    type Key = Item;

    fn follow(&self, world: &Arc<World>, sources: &Sources<Item>) {
        world.follow_all(&Following { world, sources });
    }

    fn reconcile(&self, view: &View, item: &Item) -> Plan {
        let mut plan = Plan::nothing();
        let present = view.meta(item.resource, &item.key).filter(|meta| uid(meta) == &*item.uid);
        match present {
            None => {
                for dependent in view.dependents_of(&item.uid) {
                    collect_item(view, &dependent, &mut plan);
                }
            }
            Some(meta) if meta.deletion_timestamp.is_some() => release(view, item, meta, &mut plan),
            Some(meta) => collect(view, item, meta, &mut plan),
        }
        plan
    }
}

/// Hands the changes of any kind to the queue, and keeps the index of who names whom as an owner.
pub(crate) struct Following<'a> {
    world: &'a Arc<World>,
    sources: &'a Sources<Item>,
}

impl Following<'_> {
    /// Follows the informer of a kind.
    pub(crate) fn follow<P: Known>(&self, resource: &'static Resource, informer: &Informer<P>) {
        let world = Arc::clone(self.world);
        self.sources.follow_changes(informer, move |key, old, new| {
            let item = |meta: &ObjectMeta| Item { resource, key: key.clone(), uid: uid(meta).into() };
            let (old, new) = (old.map(Known::meta), new.map(Known::meta));
            let of = |meta: Option<&ObjectMeta>| indexed(resource, meta);
            if let Some(meta) = new.or(old) {
                world.dependents.change(|| item(meta), &of(old), &of(new));
            }
            concerned(resource, key, old, new)
        });
    }
}

/// The owners that an object is found by; pods are found by their controllers anyway.
pub(crate) fn indexed(resource: &'static Resource, meta: Option<&ObjectMeta>) -> Vec<String> {
    let owners = meta.into_iter().flat_map(owners);
    let is_pod = resource.kind == "Pod";
    owners.filter(|owner| !is_pod || owner.controller != Some(true)).map(|owner| owner.uid.clone()).collect()
}

/// The object itself, where something about it matters; its owners, which may wait for it, where it is gone.
fn concerned(
    resource: &'static Resource,
    key: &ObjectKey,
    old: Option<&ObjectMeta>,
    new: Option<&ObjectMeta>,
) -> Vec<Item> {
    let item = |meta: &ObjectMeta| Item { resource, key: key.clone(), uid: uid(meta).into() };
    let matters = |meta: &ObjectMeta| meta.deletion_timestamp.is_some() || owners(meta).next().is_some();
    let is_same = |old: &ObjectMeta, new: &ObjectMeta| {
        old.uid == new.uid
            && old.owner_references == new.owner_references
            && old.finalizers == new.finalizers
            && old.deletion_timestamp == new.deletion_timestamp
    };
    match (old, new) {
        (Some(old), Some(new)) if is_same(old, new) => Vec::new(),
        (old, Some(new)) => {
            let waiting = old.into_iter().flat_map(|old| owner_items(key, old));
            let replaced = old.filter(|old| old.uid != new.uid).map(item);
            waiting.chain(replaced).chain(Some(item(new)).filter(|_| matters(new))).collect()
        }
        (Some(old), None) => owner_items(key, old).chain([item(old)]).collect(),
        (None, None) => Vec::new(),
    }
}

fn owners(meta: &ObjectMeta) -> impl Iterator<Item = &OwnerReference> {
    meta.owner_references.iter().flatten()
}

/// The owners of an object as the objects they name; an owner lies in the object's namespace or in none.
fn owner_items<'a>(key: &'a ObjectKey, meta: &'a ObjectMeta) -> impl Iterator<Item = Item> + 'a {
    owners(meta).filter_map(|owner| owner_item(&key.namespace, owner))
}

fn owner_item(namespace: &str, owner: &OwnerReference) -> Option<Item> {
    let resource = resource::find_kind(&owner.api_version, &owner.kind)?;
    let is_followed = !std::ptr::eq(resource, Event::resource());
    // An object of the cluster cannot be owned by one of a namespace.
    let is_reachable = !(resource.namespaced && namespace.is_empty());
    let key = ObjectKey::new(if resource.namespaced { namespace } else { "" }, &owner.name);
    (is_followed && is_reachable).then(|| Item { resource, key, uid: owner.uid.as_str().into() })
}

/// What an object's owners are.
#[derive(Default)]
struct Owners<'a> {
    /// There, or of a kind that nobody here knows.
    solid: Vec<&'a OwnerReference>,
    /// Waiting for the object to go first.
    waiting: Vec<&'a OwnerReference>,
    gone: Vec<Item>,
}

impl<'a> Owners<'a> {
    fn of(view: &View, item: &Item, meta: &'a ObjectMeta) -> Self {
        let mut all = Self::default();
        for owner in owners(meta) {
            let Some(named) = owner_item(&item.key.namespace, owner) else {
                all.solid.push(owner);
                continue;
            };
            match view.meta(named.resource, &named.key).filter(|meta| uid(meta) == owner.uid) {
                Some(meta) if is_ending(meta, FOREGROUND) => all.waiting.push(owner),
                Some(_) => all.solid.push(owner),
                None => all.gone.push(named),
            }
        }
        all
    }
}

fn collect_item(view: &View, item: &Item, plan: &mut Plan) {
    if let Some(meta) = view.meta(item.resource, &item.key).filter(|meta| uid(meta) == &*item.uid) {
        collect(view, item, meta, plan);
    }
}

/// Deletes an object all of whose owners are gone or wait for it; takes those off it where others remain.
fn collect(view: &View, item: &Item, meta: &ObjectMeta, plan: &mut Plan) {
    let all = Owners::of(view, item, meta);
    if meta.deletion_timestamp.is_some() || (all.gone.is_empty() && all.waiting.is_empty()) {
        return;
    }
    tell_misplaced(view, item, &all.gone, plan);
    if !all.solid.is_empty() {
        // Owners that the informers do not show may be new: only those that wait are known for sure.
        if !all.waiting.is_empty() {
            let is_kept = |owner: &&OwnerReference| !all.waiting.iter().any(|waiting| waiting.uid == owner.uid);
            set_owners(item, meta, owners(meta).filter(is_kept), plan);
        }
        return;
    }
    let propagation = if is_marked(meta, ORPHAN) {
        Propagation::Orphan
    } else if is_marked(meta, FOREGROUND) || (!all.waiting.is_empty() && view.dependents_of(&item.uid).next().is_some())
    {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let precondition = Precondition { uid: item.uid.to_string(), resource_version: String::new() };
    let options = DeleteOptions { precondition, propagation, ..DeleteOptions::default() };
    plan.actions.push(Action::Collect { resource: item.resource, key: item.key.clone(), options, owners: all.gone });
}

/// Says that an owner lies in another namespace, where nobody looks for it.
fn tell_misplaced(view: &View, item: &Item, gone: &[Item], plan: &mut Plan) {
    for owner in gone.iter().filter(|owner| owner.resource.namespaced) {
        let mut is_elsewhere = false;
        view.each(&mut |resource, key, meta| {
            is_elsewhere |= std::ptr::eq(resource, owner.resource)
                && key.namespace != item.key.namespace
                && uid(meta) == &*owner.uid;
        });
        if is_elsewhere {
            let message = format!(
                "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
                owner.resource.api_version(),
                owner.resource.kind,
                owner.key.namespace,
                owner.key.name,
                owner.uid,
                item.key.namespace
            );
            plan.actions.push(subject(item).told(true, "OwnerRefInvalidNamespace", message));
        }
    }
}

fn subject(item: &Item) -> Subject {
    let resource = SubjectKind { api_version: item.resource.api_version(), kind: item.resource.kind };
    Subject { resource, key: item.key.clone(), uid: item.uid.to_string() }
}

/// Takes the finalizer off an owner whose dependents are gone, or are orphans now; sends dependents on their way.
fn release(view: &View, item: &Item, meta: &ObjectMeta, plan: &mut Plan) {
    if is_marked(meta, ORPHAN) {
        // What is missed here would be lost: the index, which may be a moment behind, is not asked.
        view.each(&mut |resource, key, meta| {
            if owners(meta).any(|owner| owner.uid == *item.uid) {
                let dependent = Item { resource, key: key.clone(), uid: uid(meta).into() };
                set_owners(&dependent, meta, owners(meta).filter(|owner| owner.uid != *item.uid), plan);
            }
        });
        return unmark(item, meta, ORPHAN, plan);
    }
    if !is_marked(meta, FOREGROUND) {
        return;
    }
    let all: Vec<_> = dependents(view, item).collect();
    let blocks = |owner: &OwnerReference| owner.uid == *item.uid && owner.block_owner_deletion == Some(true);
    if !all.iter().any(|(_, meta)| owners(meta).any(blocks)) {
        unmark(item, meta, FOREGROUND, plan);
    }
    for (dependent, meta) in all {
        collect(view, &dependent, meta, plan);
    }
}

fn dependents<'a>(view: &'a View, item: &'a Item) -> impl Iterator<Item = (Item, &'a ObjectMeta)> {
    view.dependents_of(&item.uid).filter_map(|dependent| {
        let meta = view.meta(dependent.resource, &dependent.key)?;
        let is_owned = owners(meta).any(|owner| owner.uid == *item.uid) && uid(meta) == &*dependent.uid;
        is_owned.then_some((dependent, meta))
    })
}

fn set_owners<'a>(item: &Item, meta: &ObjectMeta, kept: impl Iterator<Item = &'a OwnerReference>, plan: &mut Plan) {
    let kept = some(kept.map(|owner| json!(owner)).collect());
    let metadata = json!({"uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": kept});
    let (resource, key) = (item.resource, item.key.clone());
    plan.actions.push(Action::Merge { resource, key, subresource: "", patch: json!({"metadata": metadata}) });
}

fn unmark(item: &Item, meta: &ObjectMeta, finalizer: &str, plan: &mut Plan) {
    let kept = some(meta.finalizers.iter().flatten().filter(|own| *own != finalizer).map(|f| json!(f)).collect());
    let metadata = json!({"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": kept});
    let (resource, key) = (item.resource, item.key.clone());
    plan.actions.push(Action::Merge { resource, key, subresource: "", patch: json!({"metadata": metadata}) });
}

fn is_marked(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|own| own == finalizer)
}

fn is_ending(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.deletion_timestamp.is_some() && is_marked(meta, finalizer)
}
