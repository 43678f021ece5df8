//! The binder: collects pods without a node, asks placement about the whole batch, posts the bindings.
//!
//! One task. It keeps nodes, loads and waiting pods up to date one change at a time, so that a batch costs what is in
//! it and not all pods there are. Bindings that were accepted are counted at once. A pod that fits nowhere says why
//! and waits until something changes.

mod ledger;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use wherry_api::kinds::{Kind, Pod};
use wherry_api::{Error, ObjectKey, Reason};
use wherry_client::{PatchKind, Request, Verb};
use wherry_placement::{Binding, place};

use crate::driver::Driver;
use crate::plan::{Subject, Told};
use crate::pods::{PodRef, SCHEDULER};
pub(crate) use ledger::Ledger;

/// How many pods are placed at once.
const BATCH_PODS_MAX: usize = 1024;
/// How many bindings, or conditions, are posted at once.
const TOGETHER_MAX: usize = 128;
/// How long a batch may fill up once its first pod is there.
const GATHER: Duration = Duration::from_millis(1);
/// How long bindings that failed wait for the next try.
const RETRY: Duration = Duration::from_millis(100);

/// Starts the binder.
pub(crate) fn start(driver: &Driver) {
    let (pods, nodes) = (driver.world.pods.changes(), driver.world.nodes.changes());
    let binder = Binder { driver: driver.clone(), pods, nodes, ledger: Ledger::default() };
    driver.drain.vital().spawn(binder.run());
}

struct Binder {
    driver: Driver,
    pods: Receiver<ObjectKey>,
    nodes: Receiver<ObjectKey>,
    ledger: Ledger,
}

impl Binder {
    async fn run(mut self) {
        self.driver.world.synced().await;
        self.read_all();
        loop {
            self.catch_up();
            let batch = self.ledger.take(BATCH_PODS_MAX);
            if batch.is_empty() {
                if !self.changed().await {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            } else if !self.bind(&batch).await {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Reads all pods and nodes anew.
    fn read_all(&mut self) {
        let (nodes, pods) = (self.driver.world.nodes.snapshot(), self.driver.world.pods.snapshot());
        self.ledger = self.ledger.renewed();
        nodes.iter().for_each(|(key, node)| self.ledger.node_changed(key, Some(node)));
        pods.iter().for_each(|(key, pod)| self.ledger.pod_changed(key, Some(pod)));
    }

    /// Takes in what has changed since; all there is where the changes are lost.
    fn catch_up(&mut self) {
        loop {
            match self.nodes.try_recv() {
                Ok(key) => self.node_changed(&key),
                Err(TryRecvError::Lagged(_)) => return self.read_all(),
                Err(_) => break,
            }
        }
        loop {
            match self.pods.try_recv() {
                Ok(key) => self.pod_changed(&key),
                Err(TryRecvError::Lagged(_)) => return self.read_all(),
                Err(_) => break,
            }
        }
    }

    /// The object is looked up after its key was heard: an older picture might lack it, and nobody would tell again.
    fn pod_changed(&mut self, key: &ObjectKey) {
        self.ledger.pod_changed(key, self.driver.world.pods.get(key).as_ref());
    }

    /// The same for a node.
    fn node_changed(&mut self, key: &ObjectKey) {
        self.ledger.node_changed(key, self.driver.world.nodes.get(key).as_ref());
    }

    /// Waits for a change and takes it in; false where there will be none.
    async fn changed(&mut self) -> bool {
        let changed = tokio::select! {
            key = self.pods.recv() => key.map(|key| self.pod_changed(&key)),
            key = self.nodes.recv() => key.map(|key| self.node_changed(&key)),
        };
        match changed {
            Ok(()) => true,
            Err(RecvError::Lagged(_)) => {
                self.read_all();
                true
            }
            Err(RecvError::Closed) => false,
        }
    }

    /// Places a batch; false where a binding failed that is to be tried again.
    async fn bind(&mut self, batch: &[PodRef]) -> bool {
        let asks: Vec<wherry_placement::Pod> = batch.iter().map(|pod| (*pod.asks).clone()).collect();
        let placements = place(self.ledger.snapshot(), &asks);
        let is_done = self.post(placements.bindings).await;
        let mut unplaceable = Vec::new();
        for pod in placements.unplaceable {
            unplaceable.extend(self.ledger.park(&pod.pod).map(|known| (known, pod.why)));
        }
        let driver = &self.driver;
        let told: Vec<_> = unplaceable.into_iter().map(|(pod, why)| explain(driver, pod, why).boxed()).collect();
        futures::stream::iter(told).buffer_unordered(TOGETHER_MAX).collect::<()>().await;
        is_done
    }

    async fn post(&mut self, bindings: Vec<Binding>) -> bool {
        let driver = &self.driver;
        let posts: Vec<_> = bindings.into_iter().map(|binding| post_one(driver, binding).boxed()).collect();
        let outcomes: Vec<_> = futures::stream::iter(posts).buffer_unordered(TOGETHER_MAX).collect().await;
        let mut is_done = true;
        for (binding, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    if let Some(pod) = self.ledger.bound(&binding) {
                        let message = format!("Successfully assigned {} to {}", binding.pod, binding.node);
                        tell(driver, &pod, false, "Scheduled", message);
                    }
                }
                // It is gone, or has a node: the informer will show it.
                Err(error) if error.reason == Reason::NotFound => {}
                Err(error) => {
                    tracing::debug!(pod = %binding.pod, %error, "a pod could not be bound; trying again");
                    self.ledger.again(&binding.pod);
                    is_done = false;
                }
            }
        }
        is_done
    }
}

/// Says in the pod's condition and in an event why it has no node; only once for the same reason.
async fn explain(driver: &Driver, pod: PodRef, why: Arc<str>) {
    let before = pod.unschedulable.as_ref();
    if before.is_some_and(|(message, _)| **message == *why) {
        return;
    }
    let now = driver.clock.now();
    let since = before.and_then(|(_, since)| *since).unwrap_or(now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": &*why,
        "lastTransitionTime": since,
    });
    let patch = json!({"metadata": {"uid": pod.meta.uid}, "status": {"conditions": [condition]}});
    let request = Request {
        resource: Pod::resource(),
        namespace: Some(pod.key.namespace.to_string()),
        name: pod.key.name.to_string(),
        subresource: "status",
        verb: Verb::Patch(PatchKind::Strategic, patch.to_string().into()),
    };
    if let Err(error) = driver.client.transport().send(request).await {
        tracing::debug!(pod = %pod.key, %error, "the pod's condition could not be written");
    }
    tell(driver, &pod, true, "FailedScheduling", why.to_string());
}

fn tell(driver: &Driver, pod: &PodRef, is_warning: bool, reason: &'static str, message: String) {
    let about = Subject::of::<Pod>(&pod.key, &pod.meta);
    driver.events.tell(SCHEDULER, Told { about, is_warning, reason, message });
}

async fn post_one(driver: &Driver, binding: Binding) -> (Binding, Result<(), Error>) {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": binding.pod.name, "namespace": binding.pod.namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node},
    });
    let api = driver.client.namespaced::<Pod>(&binding.pod.namespace);
    let outcome = api.post(&binding.pod.name, "binding", &body).await;
    (binding, outcome)
}
