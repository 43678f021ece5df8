//! A node under test: store, client, agent, fake runtime, network; and waiting on conditions of its pods.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use wherry_agent::{Agent, AgentConfig, AgentHandle, ImageGc, Runtimes};
use wherry_api::Kind;
use wherry_api::kinds::{Event as PodEvent, Pod};
use wherry_apiserver::{Identity, Registry, RegistryConfig};
use wherry_base::{SystemClock, Trigger};
use wherry_client::{Client, DeleteOptions, Event, ListOptions, PatchKind, Request, Verb, WatchOptions};
use wherry_runtime::fake::FakeRuntime;
use wherry_store::{Limits, Store};
use wherry_vnet::{Network, NetworkConfig, NoServices};

use crate::cable::Cable;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub store: Store,
    pub client: Client,
    /// Between the agent and the API.
    pub cable: Arc<Cable>,
    pub runtime: Arc<FakeRuntime>,
    pub agent: AgentHandle,
    trigger: Trigger,
    threads: Threads,
}

/// The threads of the node's process, which end when it does.
struct Threads(Option<tokio::runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

impl World {
    /// A node with nothing on it.
    pub async fn new(data: &Path) -> Self {
        Self::over(Store::in_memory(Limits::default()), FakeRuntime::new(), data).await
    }

    /// The same in a cluster that says how patient it is.
    pub async fn in_cluster(config: RegistryConfig, data: &Path) -> Self {
        Self::start(Store::in_memory(Limits::default()), FakeRuntime::new(), config, data, false).await
    }

    /// A node over a store that may have pods already.
    pub async fn over(store: Store, runtime: Arc<FakeRuntime>, data: &Path) -> Self {
        Self::start(store, runtime, RegistryConfig::default(), data, false).await
    }

    /// The same, which does not reach its API.
    pub async fn out_of_reach(store: Store, runtime: Arc<FakeRuntime>, data: &Path) -> Self {
        Self::start(store, runtime, RegistryConfig::default(), data, true).await
    }

    async fn start(store: Store, runtime: Arc<FakeRuntime>, config: RegistryConfig, data: &Path, is_cut: bool) -> Self {
        let registry = Registry::new(store.clone(), config, SystemClock::shared());
        registry.bootstrap().await.unwrap();
        let client = registry.client(Identity::admin());
        let cable = Cable::of(&registry.client(Identity::node("n1")));
        cable.cut(is_cut);
        let node = Client::new(cable.clone());
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/16".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "127.0.0.1".parse().unwrap(),
        };
        let network = Network::new(config, Arc::new(NoServices));
        let config = AgentConfig {
            node_name: "n1".into(),
            node_ip: "127.0.0.1".parse().unwrap(),
            kubelet_port: 10250,
            data_dir: data.to_owned(),
            pods_max: 110,
            taints: Vec::new(),
            labels: [("zone", "a"), ("wherry.dev/runtime.fake", "true")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            image_gc: ImageGc::default(),
            confinement_lacking: vec![],
        };
        if !is_cut {
            // As the process does, for the range of its pods.
            wherry_agent::register(&node, &config, Some(network.config().pod_cidr)).await.unwrap();
        }
        let runtimes = Runtimes::new(vec![runtime.clone()], Vec::new());
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (handle, trigger) = {
            let _entered = threads.enter();
            let agent = Agent::new(config, node, runtimes, network, SystemClock::shared()).unwrap();
            let (handle, trigger) = (agent.handle(), Trigger::new());
            let drain = trigger.drain();
            trigger.drain().spawn_graceful(async move { agent.run(drain).await });
            (handle, trigger)
        };
        Self { store, client, cable, runtime, agent: handle, trigger, threads: Threads(Some(threads)) }
    }

    /// The node's process is killed; what its runtime runs goes on.
    pub fn die(self) -> (Store, Arc<FakeRuntime>) {
        drop(self.threads);
        self.runtime.orphan();
        (self.store, self.runtime)
    }

    /// Ends the node's process in good order.
    pub async fn shut_down(self) -> (Store, Arc<FakeRuntime>) {
        assert!(self.trigger.stop(PATIENCE).await);
        (self.store, self.runtime)
    }

    /// Creates a pod bound to the node.
    pub async fn create(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!("n1");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default" }, "spec": spec });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.client.namespaced::<Pod>("default").create(&pod).await.unwrap();
    }

    /// Changes a pod by a JSON patch.
    pub async fn patch(&self, name: &str, patch: Value) {
        patch_by(&self.client, name, patch).await;
    }

    pub async fn delete(&self, name: &str, grace: i64) {
        let options = DeleteOptions { grace_period_seconds: Some(grace), ..DeleteOptions::default() };
        self.client.namespaced::<Pod>("default").delete(name, options).await.unwrap();
    }

    /// Waits until a pod (`Null` once it is gone) is as wanted.
    pub async fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let pods = self.client.namespaced::<Pod>("default");
        let mut last = Value::Null;
        let mut events = pods.watch(WatchOptions::default()).await.unwrap();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                last = match pods.get(name).await {
                    Ok(pod) => serde_json::to_value(pod).unwrap(),
                    Err(_) => Value::Null,
                };
                if wanted(&last) {
                    return;
                }
                while !matches!(events.next().await, Some(Ok(Event::Applied(_) | Event::Deleted(_)))) {}
            }
        });
        let waited = waited.await;
        assert!(waited.is_ok(), "{name} is {last:#}");
        last
    }

    /// Waits until somebody was told of this reason.
    pub async fn wait_event(&self, reason: &str) {
        self.wait_for_event(reason, |_| true).await;
    }

    /// Waits for an event of this reason that is as wanted.
    pub async fn wait_for_event(&self, reason: &str, wanted: impl Fn(&PodEvent) -> bool) -> PodEvent {
        let told = async {
            loop {
                let events = self.client.all::<PodEvent>().list(ListOptions::default()).await.unwrap();
                let of_reason = |event: &&PodEvent| event.reason.as_deref() == Some(reason);
                if let Some(event) = events.items.iter().filter(of_reason).find(|event| wanted(event)) {
                    return event.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.unwrap_or_else(|_| panic!("no event {reason}"))
    }
}

/// Changes a pod by a JSON patch, whether or not there is a node.
pub async fn patch_by(client: &Client, name: &str, patch: Value) {
    let request = Request {
        resource: Pod::resource(),
        namespace: Some("default".into()),
        name: name.to_owned(),
        subresource: "",
        verb: Verb::Patch(PatchKind::Json, serde_json::to_vec(&patch).unwrap().into()),
    };
    client.transport().send(request).await.unwrap();
}

/// Whether a pod's condition Ready holds.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// Why the first container waits.
pub fn waiting(pod: &Value) -> &str {
    pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str().unwrap_or_default()
}

/// Waits until a folder is removed.
pub async fn gone(folder: &Path) {
    let gone = async {
        while folder.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

/// Waits until a file holds this text.
pub async fn reads(file: &Path, text: &str) {
    let reads = async {
        while std::fs::read_to_string(file).ok().as_deref() != Some(text) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reads).await.unwrap();
}
