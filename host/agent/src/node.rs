//! The Node object: registration, capacity, conditions.
//!
//! A node is registered twice: first with no more than its name, its labels and where it is, for the answer tells the range of its
//! pods, which all else rests on; then in full, by the heartbeat. All other nodes hear of each version of it, of which there
//! are two until it is ready, where its configuration has all labels that it will have.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;
use tokio::sync::watch;
use wherry_api::kinds::{Node, ObjectMeta};
use wherry_api::{Error, Reason};
use wherry_base::Backoff;
use wherry_client::Client;
use wherry_runtime::Availability;

use crate::config::AgentConfig;
use crate::context::Context;
use crate::downward::Machine;
use crate::lease;
use crate::runtimes::one_changed;

mod conditions;

use conditions::{Facts, conditions};

/// How often the node's conditions are told though nothing changes.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(300);
/// How soon the node looks whether the cluster believes what it was told, and how often at the least: what notices that a
/// node is silent may have done so a moment late.
const DOUBTS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The first and the longest wait before a failed registration is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// What the labels of a node's runtimes begin with.
const RUNTIME_LABEL: &str = "wherry.dev/runtime.";
/// The release of Kubernetes whose kubelet this is, and our own.
pub const VERSION: &str = concat!("v1.36.0+wherry-", env!("CARGO_PKG_VERSION"));

/// What this machine has.
pub fn machine() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = kibibytes(&text, "MemTotal:").and_then(|kibibytes| i64::try_from(kibibytes).ok());
    Machine {
        cpu_milli: i64::try_from(cores).unwrap_or(1) * 1000,
        memory_bytes: total.map_or(1 << 30, |kibibytes| kibibytes * 1024),
    }
}

/// A field of `/proc/meminfo`.
pub fn kibibytes(meminfo: &str, field: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// The label that a node has while it has a runtime of this name.
pub fn runtime_label(name: &str) -> String {
    format!("{RUNTIME_LABEL}{name}")
}

/// Registers the node, keeps its conditions true, and its Lease, until the drain of the context.
pub fn spawn(context: Arc<Context>) {
    let (known, uid) = watch::channel(String::new());
    lease::spawn(context.clone(), uid);
    let drain = context.drain.clone();
    drain.vital().spawn(async move {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut pressure = context.storage.pressure();
        let mut images = context.images.told();
        let mut runtimes: Vec<_> = context.runtimes.follow().into_iter().map(|(_, now)| now).collect();
        loop {
            match context.announce(&known).await {
                Ok(()) => {
                    backoff.reset();
                    context.until_news(&mut pressure, &mut images, &mut runtimes).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the node could not be registered; trying again");
                    let regained = context.fence.regained.notified();
                    let _sooner = tokio::time::timeout(backoff.fail(), regained).await;
                }
            }
        }
    });
}

/// Registers a node with what is known before it has a network: its labels, where it is, and the range of its pods that
/// it had before, if it had one. The answer has the range that it has now, unless none is free.
pub async fn register(client: &Client, config: &AgentConfig, before: Option<IpNet>) -> Result<Node, Error> {
    match register_with(client, config, before).await {
        // Somebody else has that range by now.
        Err(error) if error.reason == Reason::Invalid && before.is_some() => register_with(client, config, None).await,
        registered => registered,
    }
}

async fn register_with(client: &Client, config: &AgentConfig, range: Option<IpNet>) -> Result<Node, Error> {
    let (labels, addresses) = (config.node_labels(), config.addresses());
    let metadata =
        ObjectMeta { name: Some(config.node_name.clone()), labels: Some(labels.clone()), ..ObjectMeta::default() };
    let status = NodeStatus { addresses: Some(addresses.clone()), ..NodeStatus::default() };
    let nodes = client.all::<Node>();
    let spec = Some(config.spec(range));
    match nodes.create(&Node { metadata, spec, status: Some(status) }).await {
        Err(error) if error.reason == Reason::AlreadyExists => {
            nodes.merge_status(&config.node_name, &json!({ "status": { "addresses": addresses } })).await?;
            nodes.merge(&config.node_name, &json!({ "metadata": { "labels": labels } })).await
        }
        created => created,
    }
}

impl AgentConfig {
    /// The labels of the Node that do not depend on its runtimes.
    fn node_labels(&self) -> BTreeMap<String, String> {
        let own = [
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", architecture()),
            ("kubernetes.io/hostname", &self.node_name),
        ];
        let mut labels = self.labels.clone();
        labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }

    fn spec(&self, range: Option<IpNet>) -> NodeSpec {
        let range = range.map(|range| range.to_string());
        let taints = Some(self.taints.clone()).filter(|taints| !taints.is_empty());
        NodeSpec { pod_cidrs: range.clone().map(|range| vec![range]), pod_cidr: range, taints, ..NodeSpec::default() }
    }

    fn addresses(&self) -> Vec<NodeAddress> {
        let address = |kind: &str, address: String| NodeAddress { type_: kind.into(), address };
        vec![address("InternalIP", self.node_ip.to_string()), address("Hostname", self.node_name.clone())]
    }
}

impl Context {
    /// Tells all of the node, and whoever renews its Lease its uid. That it is ready it says when it is heard again: before that
    /// nobody would believe it.
    async fn announce(&self, known: &watch::Sender<String>) -> Result<(), Error> {
        let node = self.register().await?;
        known.send_replace(node.metadata.uid.clone().unwrap_or_default());
        self.fence.held().await;
        self.write_status(&node).await
    }

    /// Resolves when the cluster is to be told of the node again.
    async fn until_news(
        &self,
        pressure: &mut watch::Receiver<bool>,
        images: &mut watch::Receiver<Vec<ContainerImage>>,
        runtimes: &mut [watch::Receiver<Availability>],
    ) {
        let doubted = async {
            let mut rest = Backoff::new(DOUBTS.0, DOUBTS.1);
            loop {
                tokio::time::sleep(rest.fail()).await;
                if self.is_doubted().await.unwrap_or(false) {
                    return;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT_PERIOD) => {}
            _ = pressure.changed() => {}
            _ = images.changed() => {}
            () = one_changed(runtimes) => {}
            () = self.fence.regained.notified() => {}
            () = doubted => {}
        }
    }

    /// Whether the cluster believes that the node is not ready, as after a silence: then it is told at once.
    async fn is_doubted(&self) -> Result<bool, Error> {
        let node = match self.client.all::<Node>().get(&self.config.node_name).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(false),
            node => node?,
        };
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        Ok(!conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
    }

    /// Creates the Node, or takes over the one of this name: labels are merged.
    async fn register(&self) -> Result<Node, Error> {
        let nodes = self.client.all::<Node>();
        let node = Node {
            metadata: ObjectMeta {
                name: Some(self.config.node_name.clone()),
                labels: Some(self.labels().into_iter().filter_map(|(key, value)| Some((key, value?))).collect()),
                ..ObjectMeta::default()
            },
            spec: Some(self.config.spec(Some(self.network.config().pod_cidr))),
            status: Some(self.status(None)),
        };
        match nodes.create(&node).await {
            Err(error) if error.reason == Reason::AlreadyExists => {
                let patch = json!({ "metadata": { "labels": self.labels() } });
                nodes.merge(&self.config.node_name, &patch).await
            }
            created => created,
        }
    }

    async fn write_status(&self, node: &Node) -> Result<(), Error> {
        let patch = json!({ "status": self.status(node.status.as_ref()) });
        self.client.all::<Node>().merge_status(&self.config.node_name, &patch).await.map(drop)
    }

    /// Its labels; without a value those that it has no more.
    fn labels(&self) -> BTreeMap<String, Option<String>> {
        let own = self.config.node_labels().into_iter().map(|(key, value)| (key, Some(value)));
        let runtimes = self.runtimes.availability().map(|(name, now)| {
            let is_ready = now.is_none_or(|now| now.is_ready());
            (runtime_label(name), is_ready.then(|| "true".to_owned()))
        });
        own.chain(runtimes).collect()
    }

    fn status(&self, before: Option<&NodeStatus>) -> NodeStatus {
        let disk = rustix::fs::statvfs(&self.config.data_dir).map_or(0, |disk| disk.f_blocks * disk.f_frsize);
        let capacity = BTreeMap::from([
            ("cpu".to_owned(), Quantity(format!("{}m", self.machine.cpu_milli))),
            ("memory".to_owned(), Quantity(format!("{}Ki", self.machine.memory_bytes / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", disk / 1024))),
            ("pods".to_owned(), Quantity(self.config.pods_max.to_string())),
        ]);
        let facts = Facts {
            is_pressed: *self.storage.pressure().borrow(),
            lacking: &self.config.confinement_lacking,
            runtimes: self.runtimes.availability().filter_map(|(name, now)| Some((name, now?))).collect(),
        };
        NodeStatus {
            allocatable: Some(capacity.clone()),
            capacity: Some(capacity),
            conditions: Some(conditions(before, self.clock.now(), &facts)),
            addresses: Some(self.config.addresses()),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(self.config.kubelet_port) }),
            }),
            node_info: Some(self.system_info()),
            images: Some(self.images.told().borrow().clone()),
            ..NodeStatus::default()
        }
    }

    fn system_info(&self) -> NodeSystemInfo {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let uname = rustix::system::uname();
        let version = env!("CARGO_PKG_VERSION");
        NodeSystemInfo {
            architecture: architecture().into(),
            operating_system: "linux".into(),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            os_image: os_name(&read("/etc/os-release")),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            machine_id: read("/etc/machine-id"),
            container_runtime_version: format!("{}://{version}", self.runtimes.names().first().unwrap_or(&"none")),
            kubelet_version: VERSION.to_owned(),
            ..NodeSystemInfo::default()
        }
    }
}

fn os_name(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
