//! A node: the agent over a runtime without guests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use wherry_agent::{Agent, AgentConfig, ImageGc, Runtimes, register};
use wherry_api::kinds::ConfigMap;
use wherry_api::well_known::CLUSTER_INFO;
use wherry_apiserver::{Identity, RegistryConfig};
use wherry_base::{Drain, Trigger};
use wherry_client::Client;
use wherry_runtime::fake::FakeRuntime;
use wherry_vnet::{Network, NetworkConfig, NoServices};

use crate::bug::Bug;
use crate::net::Port;
use crate::process::Process;
use crate::remote::Remote;

const PODS_MAX: u32 = 50;
const KUBELET_PORT: u16 = 10_250;

/// How long to wait before what failed is tried again.
const REST: Duration = Duration::from_millis(300);

/// What a node is started from.
pub struct Parts {
    pub port: Port,
    pub number: usize,
    pub masters: usize,
    pub data: PathBuf,
    pub runtime: Arc<FakeRuntime>,
    pub bug: Option<Bug>,
}

/// Starts a node in a process of its own.
pub fn start(process: &Process, parts: Parts) {
    let drain = Trigger::new().drain();
    process.with(|| drain.spawn(run(parts, drain.clone())));
}

async fn run(parts: Parts, drain: Drain) {
    let name = parts.port.host.to_string();
    let identity = Identity::node(&name);
    let remote = Remote::new(parts.port.clone(), identity, parts.masters, parts.number, parts.bug);
    let client = Client::new(Arc::new(remote));
    let config = AgentConfig {
        node_name: name,
        node_ip: [192, 168, 0, u8::try_from(parts.number + 1).unwrap_or(u8::MAX)].into(),
        kubelet_port: KUBELET_PORT,
        data_dir: parts.data,
        pods_max: PODS_MAX,
        labels: [].into(),
        taints: Vec::new(),
        image_gc: ImageGc::default(),
        confinement_lacking: vec![],
    };
    let network = loop {
        match network(&client, &config).await {
            Ok(network) => break Network::new(network, Arc::new(NoServices)),
            Err(_) => tokio::time::sleep(REST).await,
        }
    };
    let runtimes = Runtimes::new(vec![parts.runtime], Vec::new());
    match Agent::new(config, client, runtimes, network, parts.port.times.clock()) {
        Ok(agent) => agent.run(drain).await,
        Err(error) => eprintln!("a node cannot use its directory: {error}"),
    }
}

/// Registers the node, and is told the range of its pods. Not before the cluster has said what it agrees on, as elsewhere: a node
/// that finds nothing said takes the cluster for one of Kubernetes' own, and its Lease for good for 40 s.
async fn network(client: &Client, config: &AgentConfig) -> anyhow::Result<NetworkConfig> {
    client.namespaced::<ConfigMap>(CLUSTER_INFO.0).get(CLUSTER_INFO.1).await?;
    let node = register(client, config, None).await?;
    let range = node.spec.and_then(|spec| spec.pod_cidr).context("there is no range left")?;
    let pod_cidr: ipnet::IpNet = range.parse()?;
    let node_ip = pod_cidr.hosts().next().context("the range is too small")?;
    Ok(NetworkConfig {
        pod_cidr,
        cluster_cidr: RegistryConfig::CLUSTER_CIDR,
        service_cidr: RegistryConfig::SERVICE_CIDR,
        node_ip,
    })
}
