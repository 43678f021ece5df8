//! What all pods of a node share, and the table of the pods themselves.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wherry_base::{Clock, Drain, Rng};
use wherry_client::{Client, Informer};
use wherry_runtime::PodRef;
use wherry_vnet::Network;

use crate::config::AgentConfig;
use crate::downward::Machine;
use crate::events::Recorder;
use crate::fence::Fence;
use crate::images::Images;
use crate::lease::Terms;
use crate::logs::Logs;
use crate::pod::State;
use crate::references::References;
use crate::runtimes::Runtimes;
use crate::services::ServiceRow;
use crate::storage::Storage;
use crate::volumes;
use crate::worker::Worker;

/// What all pods of a node share.
pub struct Context {
    pub config: AgentConfig,
    pub client: Client,
    pub runtimes: Runtimes,
    pub network: Arc<Network>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Recorder,
    pub logs: Arc<Logs>,
    pub services: Informer<ServiceRow>,
    pub references: References,
    /// Held while a pod's files are brought up to date: one pod at a time.
    pub refreshing: tokio::sync::Mutex<()>,
    pub storage: Storage,
    pub images: Images,
    /// What the cluster went by when an earlier process of the node heard of it.
    pub terms: Terms,
    pub fence: Fence,
    pub machine: Machine,
    pub rng: Rng,
    /// Owns all tasks of pods; ends after the pods have been stopped.
    pub drain: Drain,
    /// Tells whoever waits for pods to end that one has.
    pub settled: Notify,
    /// Cancelled when what an earlier process has left is taken over: until then nobody else is given an address.
    pub inherited: CancellationToken,
    /// The pods by uid.
    pods: Mutex<HashMap<String, Arc<Worker>>>,
}

/// The parts that a context is made of.
pub struct Parts {
    pub config: AgentConfig,
    pub client: Client,
    pub runtimes: Runtimes,
    pub network: Arc<Network>,
    pub clock: Arc<dyn Clock>,
    pub logs: Arc<Logs>,
    pub machine: Machine,
    pub terms: Terms,
    pub drain: Drain,
}

impl Context {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { config, client, runtimes, network, clock, logs, machine, terms, drain } = parts;
        let recorder = Recorder::spawn(client.clone(), config.node_name.clone(), clock.clone(), &drain);
        let services = Informer::spawn(client.all(), "", "", &drain);
        let references = References::new(&client, &drain);
        Arc::new(Self {
            config,
            client,
            runtimes,
            network,
            clock,
            recorder,
            logs,
            services,
            references,
            refreshing: tokio::sync::Mutex::default(),
            storage: Storage::default(),
            images: Images::default(),
            fence: Fence::new(terms.lease),
            terms,
            machine,
            drain,
            rng: Rng::from_entropy(),
            settled: Notify::new(),
            inherited: CancellationToken::new(),
            pods: Mutex::default(),
        })
    }

    /// The pods, by uid. Nothing may be asked of a pod while this is held: pods leave the table under their own lock.
    pub fn pods(&self) -> MutexGuard<'_, HashMap<String, Arc<Worker>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pods at this moment.
    pub fn all(&self) -> Vec<Arc<Worker>> {
        self.pods().values().cloned().collect()
    }

    /// A pod by its name; where two have it, the one that is not ending.
    pub fn named(&self, namespace: &str, name: &str) -> Option<Arc<Worker>> {
        let mut named = self.all();
        named.retain(|worker| worker.pod.namespace == namespace && worker.pod.name == name);
        let newest = named.iter().find(|worker| !worker.inspect(State::is_ending)).cloned();
        newest.or_else(|| named.pop())
    }

    /// A pod's object is gone, and so is all that was kept for it.
    pub fn forget(&self, pod: &PodRef) {
        self.pods().remove(&pod.uid);
        self.storage.forget(&pod.uid);
        let (logs, folder, pod) = (self.logs.clone(), self.pod_folder(pod), pod.clone());
        self.drain.spawn_graceful(async move {
            let remove = move || {
                volumes::remove(&folder);
                logs.remove(&pod);
            };
            let _ended = wherry_base::spawn_blocking(remove).await;
        });
        self.settled.notify_waiters();
    }

    /// Where the folders of pods are.
    pub fn pods_folder(&self) -> PathBuf {
        self.config.data_dir.join("pods")
    }

    pub fn volumes_folder(&self, pod: &PodRef) -> PathBuf {
        self.pod_folder(pod).join("volumes")
    }

    pub fn messages_folder(&self, pod: &PodRef) -> PathBuf {
        self.pod_folder(pod).join("messages")
    }

    /// All of a pod's files but its logs.
    pub fn pod_folder(&self, pod: &PodRef) -> PathBuf {
        self.pods_folder().join(&pod.namespace).join(&pod.uid)
    }
}

/// An id as containers have it: 64 hexadecimal digits.
pub fn random_id(rng: &Rng) -> String {
    (0..4).map(|_| format!("{:016x}", rng.next())).collect()
}
