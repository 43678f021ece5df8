//! The node's role: pod network, proxy, wasm runtime, agent. Speaks to the master through the API alone.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipnet::{IpNet, Ipv4Net};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use wherry_agent::{Agent, AgentConfig, PODS_MAX_DEFAULT, Runtimes, SHUTDOWN_GRACE_MAX};
use wherry_base::{Clock, Trigger};
use wherry_client::Client;
use wherry_image::ImageSource;
use wherry_proxy::{Proxy, Table};
use wherry_sandbox::{Grouping, Processes, RuntimeConfig, SandboxConfig, SandboxRuntime, Sandboxes};
use wherry_vnet::{Network, NetworkConfig};
use wherry_wasm::{WasmConfig, WasmRuntime};

use crate::config::{CommonArgs, Isolation};
use crate::data_dir::DataDir;

/// How many requests and commands run at once in the node's process: as many as the 65,530 memory maps suffice for that Linux
/// gives a process by default.
const REQUESTS_MAX: u32 = 4096;
const COMMANDS_MAX: u32 = 3072;
/// The part of the cluster's range that one node takes: 65,533 pods.
const NODE_PREFIX: u8 = 16;
const STOP_MORE: Duration = Duration::from_secs(5);

/// A running node.
pub struct Node {
    proxy: Trigger,
    agent: Trigger,
    sandboxes: Trigger,
    processes: Arc<Processes>,
    guests: Guests,
}

/// The threads that guests and the ingress run on. They end in the background, also where the start fails half-way:
/// dropping a runtime within another panics.
struct Guests(Option<Runtime>);

impl Guests {
    fn start() -> std::io::Result<(Self, Handle)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("guests").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a node is started from.
pub struct Parts<'a> {
    /// The flags.
    pub args: &'a CommonArgs,
    /// The node's name.
    pub name: &'a str,
    /// Where volumes, logs and modules are.
    pub data: &'a DataDir,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// The API, as this node.
    pub client: Client,
    /// Where modules come from.
    pub images: Arc<dyn ImageSource>,
    /// Who may ask the node for logs.
    pub tls: Arc<rustls::ServerConfig>,
    /// The address that others reach this node at.
    pub address: IpAddr,
    /// The bound port of the node's endpoints.
    pub kubelet: TcpListener,
    /// The bound port of the ingress.
    pub http: TcpListener,
    /// The bound port of the ingress for TLS.
    pub https: TcpListener,
}

impl Node {
    /// Starts everything, and adopts the sandboxes of an earlier process; the agent registers the node by itself.
    pub async fn start(parts: Parts<'_>) -> anyhow::Result<Self> {
        let Parts { args, name, data, clock, client, images, tls, address, kubelet, http, https } = parts;
        let (guests, threads) = Guests::start()?;
        let table = Table::new();
        let network = Network::new(network_config(args)?, Arc::clone(&table) as _);
        let proxy = Proxy::new(client.clone(), table, Arc::clone(&network), clock.as_ref(), args.bind_address)?;
        let proxy_tasks = Trigger::new();
        {
            let _on_guests_threads = threads.enter();
            let listeners = wherry_proxy::Listeners { http: Some(moved(http)?), https: Some(moved(https)?) };
            proxy.run(listeners, &proxy_tasks.drain());
        }
        let config = WasmConfig {
            directory: data.join("wasm"),
            requests_max: REQUESTS_MAX,
            commands_max: COMMANDS_MAX,
            guests: threads.clone(),
        };
        let wasm = Arc::new(WasmRuntime::new(config, images)?);
        let sandbox_tasks = Trigger::new();
        let processes = Arc::new(Processes::new(data.join("")));
        let config = SandboxConfig {
            directory: data.join("node/sandboxes"),
            network: network.config().clone(),
            requests: threads.clone(),
            launcher: Arc::clone(&processes) as _,
            engine: wherry_runtime::Compiler::engine(&*wasm),
        };
        let sandboxes = Sandboxes::open(config, &sandbox_tasks.drain()).await;
        let runtimes = runtimes(args.isolation, data, &wasm, &sandboxes.context("sandboxes cannot be set up")?)?;
        let config = AgentConfig {
            node_name: name.to_owned(),
            node_ip: address,
            kubelet_port: kubelet.local_addr()?.port(),
            data_dir: data.join("node"),
            pods_max: PODS_MAX_DEFAULT,
            labels: std::collections::BTreeMap::new(),
            confinement_lacking: confinement_lacking(args.isolation),
        };
        let agent = Agent::new(config, client, runtimes, network, clock)?;
        let agent_tasks = Trigger::new();
        let drain = agent_tasks.drain();
        drain.spawn_graceful(wherry_agent::server::serve(kubelet, tls, agent.handle(), drain.clone()));
        drain.spawn_graceful(agent.run(drain.clone()));
        Ok(Self { proxy: proxy_tasks, agent: agent_tasks, sandboxes: sandbox_tasks, processes, guests })
    }

    /// Stops the pods gracefully, then the proxy.
    pub async fn stop(self) {
        let agent = self.agent.stop(SHUTDOWN_GRACE_MAX + STOP_MORE).await;
        let proxy = self.proxy.stop(STOP_MORE).await;
        let sandboxes = self.sandboxes.stop(STOP_MORE).await;
        if !(agent && proxy && sandboxes) {
            tracing::warn!("some of the node's tasks did not end in time");
        }
        self.processes.sweep().await;
        drop(self.guests);
    }
}

/// What this machine lacks of what keeps guests in: said at once where they depend on it by default, else with the first
/// sandbox; and on the Node in any case.
fn confinement_lacking(isolation: Isolation) -> Vec<String> {
    let lacking = wherry_sandbox::confinement_lacking();
    if isolation == Isolation::Namespace && !lacking.is_empty() {
        tracing::warn!("sandboxes are not as confined as they could be on this machine: {}", lacking.join(" "));
    }
    lacking
}

/// The runtimes that pods may ask for, the default one first.
fn runtimes(
    isolation: Isolation,
    data: &DataDir,
    wasm: &Arc<WasmRuntime>,
    sandboxes: &Arc<Sandboxes>,
) -> anyhow::Result<Runtimes> {
    let sandboxed = |name, grouping, compiler| {
        let sandboxes = Arc::clone(sandboxes);
        let (pods_directory, code_directory) = (data.join("node/pods"), data.join("wasm/compiled"));
        let config = RuntimeConfig { name, grouping, sandboxes, compiler, pods_directory, code_directory };
        Arc::new(SandboxRuntime::new(config))
    };
    let usual: Arc<dyn wherry_runtime::Runtime> = match isolation {
        Isolation::Namespace => sandboxed("wasm", Grouping::Namespace, Arc::clone(wasm) as _),
        Isolation::Shared => Arc::clone(wasm) as _,
    };
    let without_epochs = wasm.compiler_without_epochs().context("the wasm runtime compiles nothing")?;
    Ok(Runtimes::new(vec![usual, sandboxed("wasm-isolated", Grouping::Pod, without_epochs)]))
}

/// A listener that belongs to the runtime that is entered.
fn moved(listener: TcpListener) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::from_std(listener.into_std()?)?)
}

/// The node is the gateway of its pods, at the first address of their range, wherever else it may be reached.
fn network_config(args: &CommonArgs) -> anyhow::Result<NetworkConfig> {
    let IpNet::V4(cluster) = args.cluster_cidr else { anyhow::bail!("--cluster-cidr must be an IPv4 range") };
    let first = Ipv4Addr::from(u32::from(cluster.network()));
    let prefix = NODE_PREFIX.max(cluster.prefix_len());
    let pod_cidr = Ipv4Net::new(first, prefix).context("--cluster-cidr")?;
    let gateway = pod_cidr.hosts().next().context("--cluster-cidr")?;
    Ok(NetworkConfig {
        pod_cidr: pod_cidr.into(),
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr,
        node_ip: gateway.into(),
    })
}
