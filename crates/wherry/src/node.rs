//! The node's role: pod network, tunnels, proxy, wasm runtime, agent. Speaks to the master through the API alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::server::TlsStream;
use wherry_agent::server::{OtherNodes, Until};
use wherry_agent::{Agent, AgentConfig, PODS_MAX_DEFAULT, SHUTDOWN_GRACE_MAX};
use wherry_api::k8s_openapi::api::core::v1::Taint;
use wherry_api::kinds::Node as NodeObject;
use wherry_api::routes::OFFER;
use wherry_base::{Backoff, Clock, Trigger};
use wherry_client::{Client, Https};
use wherry_image::{ImageSource, LinuxSource, Registries, RegistryClient, Sources};
use wherry_proxy::{Proxy, Table};
use wherry_sandbox::{Processes, SandboxConfig, Sandboxes};
use wherry_tunnel::{TunnelServer, Tunnels};
use wherry_vnet::{Network, NetworkConfig};
use wherry_wasm::Images;

use crate::cluster_info::{ClusterInfo, remember_range, remembered_range};
use crate::config::{CommonArgs, Isolation, NodeFlags};
use crate::credentials::with_offers;
use crate::data_dir::DataDir;
use crate::runtimes::{self, Linux, Modules};
use crate::servers;

/// How long a master may take to register a node that has a range of before.
const REGISTER_MOST: Duration = Duration::from_secs(3);
/// The first and the longest wait before a node asks again for a range of its pods.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Below the data directory: whom to trust as an image registry, and what to present there.
const CERTIFICATES: &str = "certs.d";
const STOP_MORE: Duration = Duration::from_secs(5);

/// Where masters are at present.
type Masters = watch::Receiver<Vec<SocketAddr>>;

/// A running node.
pub struct Node {
    proxy: Trigger,
    agent: Trigger,
    sandboxes: Trigger,
    docker: Trigger,
    tunnels: Trigger,
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

/// What a node must know of its cluster, whichever that is.
pub struct Surroundings {
    /// The API, as this node.
    pub client: Client,
    /// Where modules come from.
    pub images: Arc<dyn ImageSource>,
    /// Where Linux images come from that were loaded into the cluster.
    pub linux_images: Option<Arc<dyn LinuxSource>>,
    /// The pods of all nodes that have tunnels to each other; those of this node where nobody says.
    pub cluster_cidr: Option<IpNet>,
    /// The addresses of all Services.
    pub service_cidr: IpNet,
    /// The addresses of the node's pods where the cluster gives its Node none.
    pub pod_cidr: Option<IpNet>,
    /// The taints that the Node is created with.
    pub taints: Vec<Taint>,
    /// Whether its masters ask a node that they cannot connect to over connections that it makes.
    pub takes_offers: bool,
}

impl Surroundings {
    /// A cluster of Wherry's own, which says it all.
    pub fn of(info: ClusterInfo, client: Client, images: Arc<Https>, data: &DataDir) -> Self {
        let cluster = Arc::new(RegistryClient::new(images));
        let linux_images = Some(Arc::clone(&cluster) as _);
        let images = Arc::new(Sources { cluster, others: registries(data) });
        let (cluster_cidr, service_cidr) = (Some(info.cluster_cidr), info.service_cidr);
        let (pod_cidr, taints, takes_offers) = (None, Vec::new(), true);
        Self { client, images, linux_images, cluster_cidr, service_cidr, pod_cidr, taints, takes_offers }
    }
}

/// All registries, by their names.
pub fn registries(data: &DataDir) -> Registries {
    Registries::new(data.join(CERTIFICATES))
}

/// What a node is started from.
pub struct Parts<'a> {
    /// The flags.
    pub args: &'a CommonArgs,
    /// What the flags say of this node.
    pub flags: &'a NodeFlags,
    /// The cluster.
    pub surroundings: Surroundings,
    /// Where volumes, logs and modules are.
    pub data: &'a DataDir,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// Who may ask the node for logs, and for its pods.
    pub tls: Arc<rustls::ServerConfig>,
    /// How the node asks others for theirs.
    pub peers: rustls::ClientConfig,
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
        let Parts { args, flags, surroundings, data, clock, tls, peers, address, kubelet, http, https } = parts;
        let Surroundings { client, images, linux_images, cluster_cidr, service_cidr, pod_cidr, taints, takes_offers } =
            surroundings;
        let config = AgentConfig {
            node_name: flags.name.clone(),
            node_ip: address,
            kubelet_port: kubelet.local_addr()?.port(),
            data_dir: data.join("node"),
            pods_max: PODS_MAX_DEFAULT,
            labels: flags.labels().into_iter().chain(runtimes::labels()).collect(),
            taints,
            image_gc: flags.images.gc(),
            confinement_lacking: confinement_lacking(args.isolation),
        };
        let range = pod_range(data, &client, &config, pod_cidr).await?;
        let (guests, threads) = Guests::start()?;
        let table = Table::new();
        let tunnel_tasks = Trigger::new();
        let revocations = wherry_client::revocations(&client, &tunnel_tasks.drain());
        let tunnels = Tunnels::new(&flags.name, peers, flags.behind_nat, tunnel_tasks.drain());
        let ranges = network_config(range, cluster_cidr, service_cidr)?;
        let network = Network::among(ranges, Arc::clone(&table) as _, Arc::clone(&tunnels) as _);
        let site = wherry_proxy::Site { node: flags.name.clone(), bind_address: args.bind_address };
        let proxy = Proxy::new(client.clone(), table, Arc::clone(&network), clock.as_ref(), site)?;
        let proxy_tasks = Trigger::new();
        {
            let _on_guests_threads = threads.enter();
            let listeners = wherry_proxy::Listeners { http: Some(moved(http)?), https: Some(moved(https)?) };
            proxy.run(listeners, &proxy_tasks.drain());
            tunnels.follow(&client, revocations.clone());
        }
        let sandbox_tasks = Trigger::new();
        let processes = Arc::new(Processes::new(data.join("")));
        let images = Images::open(images, Arc::clone(&processes) as _, &data.join("wasm"))?;
        let sandboxes = SandboxConfig {
            directory: data.join("node/sandboxes"),
            network: network.config().clone(),
            requests: threads.clone(),
            launcher: Arc::clone(&processes) as _,
            engine: images.compiler(true)?.engine(),
        };
        let sandboxes = Sandboxes::open(sandboxes, &sandbox_tasks.drain()).await;
        let sandboxes = sandboxes.context("sandboxes cannot be set up")?;
        let docker_tasks = Trigger::new();
        let linux =
            Linux { flags, data, services: service_cidr, images: linux_images, clock: &clock, threads: &threads };
        let docker = linux.runtime(&docker_tasks.drain()).await?;
        let modules =
            Modules { isolation: args.isolation, data, threads: &threads, images: &images, sandboxes: &sandboxes };
        let runtimes = modules.runtimes(docker)?;
        let masters = (flags.behind_nat && takes_offers).then(|| servers::masters(&client, &tunnel_tasks.drain()));
        let peers = Arc::new(PeersServer::new(tunnels, Arc::clone(&network), kubelet.local_addr()?, masters));
        let agent = Agent::new(config, client, runtimes, network, clock)?;
        let agent_tasks = Trigger::new();
        let drain = agent_tasks.drain();
        {
            // What other nodes ask for goes to guests as well.
            let _on_guests_threads = threads.enter();
            let (listener, handle) = (moved(kubelet)?, agent.handle());
            let served =
                wherry_agent::server::serve(listener, with_offers(tls), handle, peers, revocations, drain.clone());
            drain.vital().spawn_graceful(served);
        }
        drain.vital().spawn_graceful(agent.run(drain.clone()));
        let (proxy, agent, sandboxes, docker, tunnels) =
            (proxy_tasks, agent_tasks, sandbox_tasks, docker_tasks, tunnel_tasks);
        Ok(Self { proxy, agent, sandboxes, docker, tunnels, processes, guests })
    }

    /// Stops the pods gracefully, then the proxy, then the ways to other nodes.
    pub async fn stop(self) {
        let agent = self.agent.stop(SHUTDOWN_GRACE_MAX + STOP_MORE).await;
        let proxy = self.proxy.stop(STOP_MORE).await;
        let sandboxes = self.sandboxes.stop(STOP_MORE).await;
        let docker = self.docker.stop(STOP_MORE).await;
        let tunnels = self.tunnels.stop(STOP_MORE).await;
        if !(agent && proxy && sandboxes && docker && tunnels) {
            tracing::warn!("some of the node's tasks did not end in time");
        }
        self.processes.sweep().await;
        drop(self.guests);
    }
}

/// Other nodes' connections, as the agent hands them over.
struct PeersServer(TunnelServer);

impl PeersServer {
    /// `masters` are those that cannot connect to the node's `endpoints` themselves.
    fn new(tunnels: Arc<Tunnels>, network: Arc<Network>, endpoints: SocketAddr, masters: Option<Masters>) -> Self {
        let server = TunnelServer::new(tunnels, network, endpoints);
        if let Some(masters) = masters {
            server.offer_to_masters(masters);
        }
        Self(server)
    }
}

impl OtherNodes for PeersServer {
    fn take(&self, node: String, connection: TlsStream<TcpStream>, place: OwnedSemaphorePermit, until: Until) {
        if connection.get_ref().1.alpn_protocol() == Some(OFFER) {
            self.0.take_offer(node, connection, place, until);
        } else {
            self.0.take(node, connection, place, until);
        }
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

/// A listener that belongs to the runtime that is entered.
fn moved(listener: TcpListener) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::from_std(listener.into_std()?)?)
}

/// Registers the node, and is told the range of its pods; where no master answers, the range of before is good, and where the
/// cluster gives none, the node's own.
async fn pod_range(data: &DataDir, client: &Client, config: &AgentConfig, own: Option<IpNet>) -> anyhow::Result<IpNet> {
    let remembered = remembered_range(data)?;
    let before = remembered.or(own);
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let registered = tokio::time::timeout(REGISTER_MOST, wherry_agent::register(client, config, before)).await;
        let why = match registered {
            Ok(Ok(node)) => match range_of(&node).or(own) {
                Some(range) if remembered == Some(range) => return Ok(range),
                Some(range) => {
                    remember_range(data, range)?;
                    return Ok(range);
                }
                None => "the cluster gives this node no range of addresses for its pods (its Node has no podCIDR)"
                    .to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if let Some(before) = before {
            tracing::warn!(%why, range = %before, "the node is not registered yet, and starts with the range of before");
            return Ok(before);
        }
        tracing::warn!(%why, "the node waits for a range of its pods");
        tokio::time::sleep(backoff.fail()).await;
    }
}

fn range_of(node: &NodeObject) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

/// The node is the gateway of its pods, at the first address of their range, wherever else it may be reached.
fn network_config(pod_cidr: IpNet, cluster_cidr: Option<IpNet>, service_cidr: IpNet) -> anyhow::Result<NetworkConfig> {
    let gateway = pod_cidr.hosts().next().context("the range of the node's pods is too small")?;
    Ok(NetworkConfig { pod_cidr, cluster_cidr: cluster_cidr.unwrap_or(pod_cidr), service_cidr, node_ip: gateway })
}
