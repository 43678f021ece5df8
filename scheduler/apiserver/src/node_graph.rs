//! Which nodes have a use for which ConfigMaps and Secrets: those that pods bound to them refer to, and, on every node, the
//! certificates that Ingresses name. What Kubernetes' Node authorizer calls its graph.
//!
//! It is brought up to date from the store's history whenever it is asked, so that it is never behind what a node has seen;
//! a question costs the changes since the one before. It is read from all pods once, with the first question, and anew
//! where it fell behind the history. Spawns nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::api::networking::v1::IngressSpec;
use serde::Deserialize;
use wherry_api::kinds::{Ingress, Kind, Pod};
use wherry_api::{ObjectKey, References};
use wherry_store::{Change, ChangeKind, Entry, Expired, Store, Watch};

/// How many changes are taken from the history at once.
const CHANGES_TOGETHER_MAX: usize = 1024;
/// Stands for all nodes.
const EVERY_NODE: &str = "";
/// How often the graph is read anew where the history does not reach back to where it stood.
const BUILD_TRIES: usize = 3;

/// What pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Referent {
    ConfigMap,
    Secret,
    /// A Secret that is asked for on the condition that it is of the type for TLS.
    TlsSecret,
}

/// The graph, and how far it has come.
#[derive(Default)]
pub(crate) struct NodeGraph(Mutex<Option<Kept>>);

struct Kept {
    graph: Graph,
    pods: Watch,
    ingresses: Watch,
}

/// By object, the nodes that have a use for it, and how many pods or Ingresses make that so.
#[derive(Debug, Default, PartialEq, Eq)]
struct Graph(HashMap<(Referent, ObjectKey), BTreeMap<Arc<str>, u32>>);

/// A pod or an Ingress: where it is used, and what it refers to.
#[derive(Debug, PartialEq, Eq)]
struct User {
    node: Arc<str>,
    refers: Vec<(Referent, ObjectKey)>,
}

impl NodeGraph {
    /// Whether a node has a use for an object, as the store is now.
    pub(crate) fn refers(&self, store: &Store, node: &str, referent: Referent, key: &ObjectKey) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..BUILD_TRIES {
            match kept.as_mut().map(Kept::catch_up) {
                Some(Ok(())) => break,
                _ => *kept = Kept::of(store).ok(),
            }
        }
        kept.as_ref().is_some_and(|kept| kept.graph.refers(node, referent, key))
    }
}

impl Kept {
    fn of(store: &Store) -> Result<Self, Expired> {
        let (pods, ingresses) = (store.snapshot(Pod::resource()), store.snapshot(Ingress::resource()));
        let mut graph = Graph::default();
        pods.objects.iter().filter_map(|(key, entry)| of_pod(key, entry)).for_each(|user| graph.add(&user));
        ingresses.objects.iter().filter_map(|(key, entry)| of_ingress(key, entry)).for_each(|user| graph.add(&user));
        let (pods, ingresses) =
            (store.watch(Pod::resource(), pods.revision)?, store.watch(Ingress::resource(), ingresses.revision)?);
        Ok(Self { graph, pods, ingresses })
    }

    fn catch_up(&mut self) -> Result<(), Expired> {
        while let Some(changes) = self.pods.next(CHANGES_TOGETHER_MAX).now_or_never() {
            changes?.iter().filter(|change| is_news(change)).for_each(|change| self.graph.follow(change, of_pod));
        }
        while let Some(changes) = self.ingresses.next(CHANGES_TOGETHER_MAX).now_or_never() {
            changes?.iter().for_each(|change| self.graph.follow(change, of_ingress));
        }
        Ok(())
    }
}

impl Graph {
    fn refers(&self, node: &str, referent: Referent, key: &ObjectKey) -> bool {
        let is_used_as = |referent| {
            let users = self.0.get(&(referent, key.clone()));
            users.is_some_and(|users| users.contains_key(node) || users.contains_key(EVERY_NODE))
        };
        is_used_as(referent) || (referent == Referent::TlsSecret && is_used_as(Referent::Secret))
    }

    fn follow(&mut self, change: &Change, read: fn(&ObjectKey, &Entry) -> Option<User>) {
        let now = Some(&change.entry).filter(|_| change.kind != ChangeKind::Deleted);
        // First what is new: what both refer to is never without a user.
        now.and_then(|entry| read(&change.key, entry)).iter().for_each(|user| self.add(user));
        change.previous.as_ref().and_then(|entry| read(&change.key, entry)).iter().for_each(|user| self.remove(user));
    }

    fn add(&mut self, user: &User) {
        for object in &user.refers {
            *self.0.entry(object.clone()).or_default().entry(Arc::clone(&user.node)).or_default() += 1;
        }
    }

    fn remove(&mut self, user: &User) {
        for object in &user.refers {
            let Some(users) = self.0.get_mut(object) else { continue };
            if let Some(count) = users.get_mut(&user.node) {
                *count -= 1;
                if *count == 0 {
                    users.remove(&user.node);
                }
            }
            if users.is_empty() {
                self.0.remove(object);
            }
        }
    }
}

/// Where a pod is bound, and what it refers to, never changes; most changes are of its status.
fn is_news(change: &Change) -> bool {
    let place = |entry: &Entry| entry.field(Pod::resource(), "spec.nodeName").to_owned();
    let same =
        |before: &Arc<Entry>| before.index.uid == change.entry.index.uid && place(before) == place(&change.entry);
    change.kind == ChangeKind::Deleted || !change.previous.as_ref().is_some_and(same)
}

/// A pod that is bound and refers to something.
fn of_pod(key: &ObjectKey, entry: &Entry) -> Option<User> {
    let node = entry.field(Pod::resource(), "spec.nodeName");
    // What names neither is not decoded: most pods.
    if node.is_empty() || !(has(&entry.json, "ecret") || has(&entry.json, "onfigMap")) {
        return None;
    }
    let references = References::of_pod(&spec::<PodSpec>(entry)?);
    let object = |referent| move |name: String| (referent, ObjectKey::new(&key.namespace, &name));
    let maps = references.config_maps.into_iter().map(object(Referent::ConfigMap));
    let secrets = references.secrets.into_iter().map(object(Referent::Secret));
    Some(User { node: node.into(), refers: maps.chain(secrets).collect() })
}

/// Ingresses are served by all nodes.
fn of_ingress(key: &ObjectKey, entry: &Entry) -> Option<User> {
    let tls = spec::<IngressSpec>(entry)?.tls.unwrap_or_default();
    let secrets = tls.into_iter().filter_map(|tls| tls.secret_name);
    let refers = secrets.map(|name| (Referent::TlsSecret, ObjectKey::new(&key.namespace, &name))).collect();
    Some(User { node: EVERY_NODE.into(), refers })
}

fn has(json: &[u8], word: &str) -> bool {
    std::str::from_utf8(json).is_ok_and(|text| text.contains(word))
}

fn spec<S: for<'a> Deserialize<'a>>(entry: &Entry) -> Option<S> {
    #[derive(Deserialize)]
    struct Peek<S> {
        spec: S,
    }
    serde_json::from_slice::<Peek<S>>(&entry.json).ok().map(|peek| peek.spec)
}

#[cfg(test)]
mod tests;
