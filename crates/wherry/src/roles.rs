//! `wherry master` and `wherry node`: each role in a process of its own, on one data directory; `wherry up` is both in one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use wherry_api::kinds::Node as NodeObject;
use wherry_apiserver::Identity;
use wherry_base::{Backoff, Clock, SystemClock};
use wherry_client::{Client, Event, Https, Kubeconfig, WatchOptions};
use wherry_image::RegistryClient;

use crate::config::{CommonArgs, MasterArgs, NodeArgs};
use crate::credentials::Credentials;
use crate::data_dir::{DataDir, Role};
use crate::listeners::{MasterListeners, MasterPorts, NodeListeners, master_ports, publish};
use crate::master::{self, Master};
use crate::node::{self, Node};

const KUBECONFIG: &str = "kubeconfig";
/// How long a node waits before it looks again whether the master knows it.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the roles of a process share.
pub struct Setting<'a> {
    common: &'a CommonArgs,
    data: &'a DataDir,
    /// The node's name.
    name: &'a str,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
}

/// Runs a master until SIGINT or SIGTERM.
pub async fn master(args: MasterArgs) -> anyhow::Result<()> {
    args.common.check()?;
    let data = DataDir::open(&args.common.data_dir, &[Role::Master])?;
    let listeners = MasterListeners::bind(&args.common).await?;
    let ports = listeners.ports()?;
    let master = Setting::new(&args.common, &data, "localhost")?.start_master(listeners).await?;
    eprintln!("ready for nodes: API on port {}", ports.api);
    let admin = master.client(Identity::admin());
    until_stopped(async {
        node_ready(&admin, None).await?;
        master.readiness.set(true);
        Ok(())
    })
    .await?;
    master.stop().await;
    Ok(())
}

/// Runs a node beside the master of the same data directory until SIGINT or SIGTERM.
pub async fn node(args: NodeArgs) -> anyhow::Result<()> {
    args.check()?;
    let data = DataDir::open(&args.common.data_dir, &[Role::Node])?;
    let listeners = NodeListeners::bind(&args.common).await?;
    let ports = listeners.ports()?;
    // Before there are certificates, which the master makes and this process only adds to.
    let registry = first_master(&data).await?.registry;
    let setting = Setting::new(&args.common, &data, &args.name)?;
    let client = setting.client_of_node()?;
    let node = setting.start_node(client.clone(), registry, listeners).await?;
    until_stopped(async {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        while let Err(error) = node_ready(&client, Some(&args.name)).await {
            tracing::debug!(%error, "the master does not know this node yet");
            tokio::time::sleep(backoff.fail()).await;
        }
        eprintln!("ready: ingress on {} (https {})", ports.http, ports.https);
        Ok(())
    })
    .await?;
    node.stop().await;
    Ok(())
}

impl<'a> Setting<'a> {
    /// With certificates made anew.
    pub fn new(common: &'a CommonArgs, data: &'a DataDir, name: &'a str) -> anyhow::Result<Self> {
        let clock = SystemClock::shared();
        let first_service = common.service_cidr.hosts().next().context("--service-cidr is too small")?;
        let address = reachable(common.bind_address);
        let credentials = Credentials::prepare(data, address, first_service, name, clock.now())?;
        Ok(Self { common, data, name, credentials, clock })
    }

    /// Starts a master, and tells where it is.
    pub async fn start_master(&self, listeners: MasterListeners) -> anyhow::Result<Master> {
        let Self { common, data, credentials, clock, .. } = self;
        let ports = listeners.ports()?;
        let advertise = SocketAddr::new(reachable(common.bind_address), ports.api);
        data.write(KUBECONFIG, &credentials.kubeconfig(&format!("https://{advertise}")))?;
        publish(data, &ports)?;
        let MasterListeners { api, registry: images } = listeners;
        let clock = Arc::clone(clock);
        Master::start(master::Parts { args: common, data, credentials, clock, advertise, api, images }).await
    }

    /// Starts a node, and tells where it is.
    pub async fn start_node(&self, client: Client, registry: u16, listeners: NodeListeners) -> anyhow::Result<Node> {
        publish(self.data, &listeners.ports()?)?;
        let NodeListeners { http, https, kubelet } = listeners;
        let parts = node::Parts {
            args: self.common,
            name: self.name,
            data: self.data,
            clock: Arc::clone(&self.clock),
            client,
            images: Arc::new(registry_client(self.data, registry)?),
            tls: self.credentials.closed_tls()?,
            address: reachable(self.common.bind_address),
            kubelet,
            http,
            https,
        };
        Node::start(parts).await
    }

    /// The API over HTTPS, as the node.
    fn client_of_node(&self) -> anyhow::Result<Client> {
        let admin = Kubeconfig::load(&self.data.join(KUBECONFIG))?;
        let own = &self.credentials.node;
        let kubeconfig = Kubeconfig { certificate: own.certificate.clone(), key: own.key.clone(), ..admin };
        Ok(Client::from_kubeconfig(&kubeconfig)?)
    }
}

/// Where the master of a data directory is; waits for one that has never been started.
async fn first_master(data: &DataDir) -> anyhow::Result<MasterPorts> {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut is_told = false;
    loop {
        if let Some(ports) = master_ports(data)? {
            return Ok(ports);
        }
        if !std::mem::replace(&mut is_told, true) {
            eprintln!("waiting for `wherry master` to be started with this --data-dir");
        }
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// The image registry over TLS, as any node or person reaches it.
pub fn registry_client(data: &DataDir, port: u16) -> anyhow::Result<RegistryClient> {
    let mut kubeconfig = Kubeconfig::load(&data.join(KUBECONFIG))?;
    let host = kubeconfig.server.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or_default();
    kubeconfig.server = format!("{host}:{port}");
    Ok(RegistryClient::new(Https::new(&kubeconfig)?))
}

/// Does its work, tells what went wrong in it, and resolves on SIGINT or SIGTERM.
pub async fn until_stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopped);
    tokio::select! {
        outcome = work => {
            if let Err(error) = outcome {
                eprintln!("error: {error:#}");
            }
            (&mut stopped).await;
        }
        () = &mut stopped => {}
    }
    eprintln!("stopping; the pods come back at the next start");
    Ok(())
}

/// Waits until a node is ready: the one of that name, or any.
pub async fn node_ready(client: &Client, name: Option<&str>) -> anyhow::Result<()> {
    let fields = name.map(|name| format!("metadata.name={name}")).unwrap_or_default();
    let mut watch = client.all::<NodeObject>().watch(WatchOptions { fields, ..WatchOptions::default() }).await?;
    while let Some(event) = watch.next().await {
        if let Event::Applied(node) = event?
            && is_ready(&node)
        {
            return Ok(());
        }
    }
    anyhow::bail!("the watch of nodes ended")
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The address that a client on this machine uses.
fn reachable(bound: IpAddr) -> IpAddr {
    if bound.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bound }
}
