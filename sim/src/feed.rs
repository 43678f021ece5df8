//! What the masters agree on, as the most advanced of them shows it: read after every step of the world.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use serde::de::DeserializeOwned;
use wherry_api::kinds::{ConfigMap, Deployment, EndpointSlice, Event, Kind, Lease, Node, Pod};
use wherry_api::taint::{NO_EXECUTE, UNREACHABLE};
use wherry_api::{Resource, Revision};
use wherry_store::{Change, ChangeKind, Store};

use crate::history::{self, History, KeyChange, NodeChange, PodChange, SliceChange, Workload};
use crate::record::Recorder;
use crate::user::{NAMESPACE, is_key, value};

/// How many changes are read at once.
const CHANGES_TOGETHER_MAX: usize = 1024;

/// The reason of the event that tells of a pod which is deleted for its node's taints.
const EVICTED: &str = "TaintManagerEviction";

const SERVICE: &str = "kubernetes.io/service-name";

/// How far the masters were read.
#[derive(Default)]
pub struct Feed {
    /// Of each resource, by its plural.
    read: BTreeMap<&'static str, Revision>,
}

impl Feed {
    /// Reads what is new. An error where a master has forgotten what was not read yet.
    pub fn read(&mut self, stores: &[Store], now: Duration, recorder: &Recorder) -> Result<(), String> {
        let resources = [ConfigMap::resource(), Pod::resource(), EndpointSlice::resource(), Node::resource()];
        for resource in resources {
            let from = self.read.entry(resource.plural).or_default();
            // One that has just started has no past; another has it.
            let outcomes: Vec<_> = stores.iter().map(|store| advance(store, resource, from, now, recorder)).collect();
            if !outcomes.is_empty() && outcomes.iter().all(Result::is_err) {
                return Err(format!("no master knows what became of {} since {from}", resource.plural));
            }
        }
        for resource in [Event::resource(), Lease::resource()] {
            self.read_volatile(resource, stores, now, recorder);
        }
        Ok(())
    }

    /// What is in the leader's memory only: some of it is lost with it.
    fn read_volatile(&mut self, resource: &'static Resource, stores: &[Store], now: Duration, recorder: &Recorder) {
        let from = self.read.entry(resource.plural).or_default();
        for store in stores.iter().filter(|store| store.readable(resource).is_ok()) {
            if advance(store, resource, from, now, recorder).is_err() {
                *from = store.revision();
            }
        }
    }
}

fn advance(
    store: &Store,
    resource: &'static Resource,
    from: &mut Revision,
    now: Duration,
    recorder: &Recorder,
) -> Result<(), wherry_store::Expired> {
    if store.revision() <= *from {
        return Ok(());
    }
    let mut watch = store.watch(resource, *from)?;
    while let Some(changes) = watch.next(CHANGES_TOGETHER_MAX).now_or_never() {
        for change in changes? {
            *from = change.revision;
            recorder.note(|history| note(history, resource, now, &change));
        }
    }
    *from = watch.position();
    Ok(())
}

fn note(history: &mut History, resource: &'static Resource, at: Duration, change: &Change) {
    if std::ptr::eq(resource, ConfigMap::resource()) {
        history.keys.extend(key_change(at, change));
    } else if std::ptr::eq(resource, Pod::resource()) {
        history.pods.extend(pod_change(at, change));
    } else if std::ptr::eq(resource, EndpointSlice::resource()) {
        history.slices.extend(slice_change(at, change));
    } else if std::ptr::eq(resource, Node::resource()) {
        history.nodes.extend(node_change(at, change));
    } else if std::ptr::eq(resource, Lease::resource()) {
        history.heard.entry(change.key.name.to_string()).or_default().push(at);
    } else {
        history.evicted.extend(evicted(change));
    }
}

/// The object as it stands after a change, or stood before it was removed.
fn object<K: DeserializeOwned>(change: &Change) -> Option<K> {
    serde_json::from_slice(&change.entry.json).ok()
}

fn is_gone(change: &Change) -> bool {
    change.kind == ChangeKind::Deleted
}

fn key_change(at: Duration, change: &Change) -> Option<KeyChange> {
    let is_ours = *change.key.namespace == *NAMESPACE && is_key(&change.key.name);
    let map: ConfigMap = object(change).filter(|_| is_ours)?;
    let value = (!is_gone(change)).then(|| value(&map));
    Some(KeyChange { at, revision: change.revision.0, key: change.key.name.to_string(), value })
}

fn pod_change(at: Duration, change: &Change) -> Option<PodChange> {
    let pod: Pod = object(change)?;
    let uid = pod.metadata.uid.clone()?;
    let pod = (!is_gone(change)).then(|| outline(pod));
    Some(PodChange { at, revision: change.revision.0, uid, pod })
}

fn outline(pod: Pod) -> history::Pod {
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let conditions = status.conditions.unwrap_or_default();
    history::Pod {
        name: pod.metadata.name.unwrap_or_default(),
        node: spec.node_name,
        address: status.pod_ip,
        is_ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        is_deleting: pod.metadata.deletion_timestamp.is_some(),
        is_over: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        app: pod.metadata.labels.unwrap_or_default().remove("app").unwrap_or_default(),
    }
}

/// Those of Services of ours: the API's own endpoints are no pods.
fn slice_change(at: Duration, change: &Change) -> Option<SliceChange> {
    let slice: EndpointSlice = object(change)?;
    let name = slice.metadata.labels.unwrap_or_default().remove(SERVICE)?;
    let ready = slice.endpoints.unwrap_or_default().into_iter().filter_map(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).filter(|ready| *ready)?;
        Some((endpoint.target_ref?.uid?, endpoint.addresses.into_iter().next()?))
    });
    let ready = if is_gone(change) { BTreeMap::new() } else { ready.collect() };
    Some(SliceChange { at, revision: change.revision.0, name, ready })
}

/// The uid of the pod that an event says was evicted.
fn evicted(change: &Change) -> Option<String> {
    let event: Event = object(change)?;
    event.involved_object.uid.filter(|_| event.reason.as_deref() == Some(EVICTED))
}

fn node_change(at: Duration, change: &Change) -> Option<NodeChange> {
    let node: Node = object(change)?;
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let is_unreachable = taints.iter().any(|taint| taint.key == UNREACHABLE && taint.effect == NO_EXECUTE);
    Some(NodeChange { at, revision: change.revision.0, node: change.key.name.to_string(), is_unreachable })
}

/// The Deployments as they stand.
pub fn workloads(store: &Store) -> Vec<Workload> {
    let count = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
    let objects = store.snapshot(Deployment::resource()).objects;
    let deployments = objects.values().filter_map(|entry| serde_json::from_slice::<Deployment>(&entry.json).ok());
    let workload = |deployment: Deployment| {
        let (spec, status) = (deployment.spec.unwrap_or_default(), deployment.status.unwrap_or_default());
        Workload {
            app: deployment.metadata.name.unwrap_or_default(),
            wanted: count(spec.replicas),
            updated: count(status.updated_replicas),
            ready: count(status.ready_replicas),
            is_observed: status.observed_generation == deployment.metadata.generation,
        }
    };
    deployments.map(workload).collect()
}
