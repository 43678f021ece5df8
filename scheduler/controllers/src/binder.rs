//! The binder: collects pods without a node, asks placement about the whole batch, posts the bindings.
//!
//! One task. It wakes when pods or nodes change; bindings that were accepted are counted at once, so the next batch
//! does not wait for the informer to show them. A pod that fits nowhere says why and waits for a change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::{Notify, broadcast};
use wherry_api::kinds::Pod;
use wherry_api::{Error, ObjectKey, Reason};
use wherry_placement::{Binding, Snapshot, Unplaceable, place};

use crate::driver::Driver;
use crate::plan::{Subject, SubjectKind, Told};
use crate::pods::{PodRef, PodView};
use crate::world::Objects;

/// How many pods are placed at once.
const BATCH_PODS_MAX: usize = 1024;
/// How many bindings are posted at once.
const BINDINGS_TOGETHER_MAX: usize = 128;
/// How long a batch may fill up once its first pod is there.
const GATHER: Duration = Duration::from_millis(1);
/// How long a binding is assumed before its pod's informer must have shown it.
const ASSUMED_MOST: Duration = Duration::from_secs(30);

/// Starts the binder.
pub(crate) fn start(driver: &Driver) {
    let wake = Arc::new(Notify::new());
    for informer in [driver.world.pods.changes(), driver.world.nodes.changes()] {
        driver.drain.spawn(ring(informer, Arc::clone(&wake)));
    }
    let binder = Binder { driver: driver.clone(), assumed: HashMap::new() };
    driver.drain.spawn(binder.run(wake));
}

async fn ring(mut changes: broadcast::Receiver<ObjectKey>, wake: Arc<Notify>) {
    loop {
        match changes.recv().await {
            Err(broadcast::error::RecvError::Closed) => return,
            _ => wake.notify_one(),
        }
    }
}

struct Binder {
    driver: Driver,
    /// Bindings that were accepted and are not shown yet: node, and until when.
    assumed: HashMap<ObjectKey, (Arc<str>, tokio::time::Instant)>,
}

impl Binder {
    async fn run(mut self, wake: Arc<Notify>) {
        self.driver.world.synced().await;
        loop {
            let is_more = self.bind_batch().await;
            if !is_more {
                wake.notified().await;
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Places one batch; true where more pods wait.
    async fn bind_batch(&mut self) -> bool {
        let pods = self.driver.world.pods.snapshot();
        self.forget(&pods);
        let mut waiting: Vec<&PodRef> = pods.values().filter(|pod| self.is_waiting(pod)).collect();
        if waiting.is_empty() {
            return false;
        }
        waiting.sort_by_key(|pod| pod.created());
        let is_more = waiting.len() > BATCH_PODS_MAX;
        waiting.truncate(BATCH_PODS_MAX);
        let batch: Vec<wherry_placement::Pod> = waiting.iter().map(|pod| (*pod.asks).clone()).collect();
        let placements = place(&self.snapshot(&pods), &batch);
        let is_progress = !placements.bindings.is_empty();
        self.post(placements.bindings).await;
        for unplaceable in placements.unplaceable {
            self.explain(&pods, unplaceable).await;
        }
        is_more && is_progress
    }

    fn is_waiting(&self, pod: &PodView) -> bool {
        pod.node.is_none() && pod.is_ours && pod.is_active() && !self.assumed.contains_key(&pod.key)
    }

    /// Drops assumptions that the informer shows, or whose time is over.
    fn forget(&mut self, pods: &Objects<PodRef>) {
        let now = tokio::time::Instant::now();
        let is_open = |pod: Option<&PodRef>| pod.is_some_and(|pod| pod.node.is_none());
        self.assumed.retain(|key, (_, until)| is_open(pods.get(key)) && *until > now);
    }

    /// Nodes and what is on them, assumed bindings included.
    fn snapshot(&self, pods: &Objects<PodRef>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for node in self.driver.world.nodes.snapshot().values() {
            snapshot.set_node(wherry_placement::Node::from(&**node));
        }
        for pod in pods.values().filter(|pod| !pod.has_ended()) {
            let assumed = self.assumed.get(&pod.key).map(|(node, _)| &**node);
            if let Some(node) = pod.node.as_deref().or(assumed) {
                snapshot.set_pod(&pod.key, node, pod.asks.requests, pod.asks.owner.clone());
            }
        }
        snapshot
    }

    async fn post(&mut self, bindings: Vec<Binding>) {
        let driver = &self.driver;
        let posts: Vec<_> = bindings.into_iter().map(|binding| post_one(driver, binding).boxed()).collect();
        let outcomes: Vec<_> = futures::stream::iter(posts).buffer_unordered(BINDINGS_TOGETHER_MAX).collect().await;
        let until = tokio::time::Instant::now() + ASSUMED_MOST;
        for (binding, outcome) in outcomes {
            match outcome {
                Ok(()) => drop(self.assumed.insert(binding.pod, (binding.node, until))),
                Err(error) if matches!(error.reason, Reason::NotFound | Reason::Conflict) => {}
                Err(error) => tracing::warn!(pod = %binding.pod, %error, "a pod could not be bound; trying again"),
            }
        }
    }

    /// Says in the pod's condition and in an event why it has no node; only once for the same reason.
    async fn explain(&self, pods: &Objects<PodRef>, unplaceable: Unplaceable) {
        let Some(pod) = pods.get(&unplaceable.pod) else { return };
        if pod.unschedulable.as_deref() == Some(&*unplaceable.why) {
            return;
        }
        let about = Subject {
            resource: SubjectKind { api_version: "v1".into(), kind: "Pod" },
            key: pod.key.clone(),
            uid: pod.meta.uid.clone().unwrap_or_default(),
        };
        let message = unplaceable.why.to_string();
        let now = self.driver.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": now,
        });
        let api = self.driver.client.namespaced::<Pod>(&pod.key.namespace);
        let patch = json!({"metadata": {"uid": about.uid}, "status": {"conditions": [condition]}});
        if let Err(error) = api.merge_status(&pod.key.name, &patch).await {
            tracing::debug!(pod = %pod.key, %error, "the pod's condition could not be written");
        }
        self.driver.events.tell(Told { about, is_warning: true, reason: "FailedScheduling", message });
    }
}

async fn post_one(driver: &Driver, binding: Binding) -> (Binding, Result<(), Error>) {
    let outcome = bind(driver, &binding).await;
    (binding, outcome)
}

async fn bind(driver: &Driver, binding: &Binding) -> Result<(), Error> {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": binding.pod.name, "namespace": binding.pod.namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node},
    });
    driver.client.namespaced::<Pod>(&binding.pod.namespace).post(&binding.pod.name, "binding", &body).await
}
