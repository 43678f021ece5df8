//! `wherry up`: a master and a node in one process, from the data directory to the last hint.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use wherry_api::kinds::Node as NodeObject;
use wherry_apiserver::Identity;
use wherry_base::SystemClock;
use wherry_cli::{ClusterArgs, apply_manifests, read_manifests};
use wherry_client::{Client, Event, Https, WatchOptions};
use wherry_image::RegistryClient;

use crate::config::UpArgs;
use crate::credentials::Credentials;
use crate::data_dir::DataDir;
use crate::demo;
use crate::listeners::{Listeners, Ports};
use crate::master::{self, Master};
use crate::node::{self, Node};

/// Starts everything, and stops it on SIGINT or SIGTERM.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    args.check()?;
    let manifests = if args.files.is_empty() { Vec::new() } else { read_manifests(&args.files)? };
    let data = DataDir::open(&args.common.data_dir)?;
    let (master, node, ports) = start(&args, &data).await?;
    let admin = master.client(Identity::admin());
    let stopped = stop_signal()?;
    tokio::pin!(stopped);
    let work = async {
        node_ready(&admin, &args.name).await?;
        master.readiness.set(true);
        announce(&data, ports);
        // As a person's own, over HTTPS: what is wrong in them is refused.
        let person = ClusterArgs { kubeconfig: Some(data.join("kubeconfig")), ..ClusterArgs::default() }.client()?;
        apply_manifests(&person, "default", &manifests, |applied| eprintln!("{} {}", applied.name, applied.outcome))
            .await?;
        if args.demo {
            demo::load_images(&registry_client(&data, ports)?).await?;
            demo::run(&admin).await?;
            demo::hints(ports, &data.join("kubeconfig").display().to_string());
        }
        anyhow::Ok(())
    };
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
    node.stop().await;
    master.stop().await;
    Ok(())
}

async fn start(args: &UpArgs, data: &DataDir) -> anyhow::Result<(Master, Node, Ports)> {
    let common = &args.common;
    let listeners = Listeners::bind(common).await?;
    let ports = listeners.ports()?;
    let clock = SystemClock::shared();
    let address = reachable(common.bind_address);
    let advertise = SocketAddr::new(address, ports.api);
    let first_service = common.service_cidr.hosts().next().context("--service-cidr is too small")?;
    let credentials = Credentials::prepare(data, address, first_service, &args.name, clock.now())?;
    data.write("kubeconfig", &credentials.kubeconfig(&format!("https://{advertise}")))?;
    data.write("ports.json", &serde_json::to_string(&ports)?)?;
    let Listeners { api, http, https, kubelet, registry: images } = listeners;
    let parts =
        master::Parts { args: common, data, credentials: &credentials, clock: clock.clone(), advertise, api, images };
    let master = Master::start(parts).await?;
    let node = Node::start(node::Parts {
        args: common,
        name: &args.name,
        data,
        clock,
        client: master.client(Identity::node(&args.name)),
        images: Arc::new(registry_client(data, ports)?),
        tls: credentials.closed_tls()?,
        address,
        kubelet,
        http,
        https,
    })
    .await?;
    Ok((master, node, ports))
}

/// The image registry over TLS, as any node or person reaches it.
fn registry_client(data: &DataDir, ports: Ports) -> anyhow::Result<RegistryClient> {
    let mut kubeconfig = wherry_client::Kubeconfig::load(&data.join("kubeconfig"))?;
    let host = kubeconfig.server.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or_default();
    kubeconfig.server = format!("{host}:{}", ports.registry);
    Ok(RegistryClient::new(Https::new(&kubeconfig)?))
}

/// The address that a client on this machine uses.
fn reachable(bound: IpAddr) -> IpAddr {
    if bound.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bound }
}

async fn node_ready(client: &Client, name: &str) -> anyhow::Result<()> {
    let options = WatchOptions { fields: format!("metadata.name={name}"), ..WatchOptions::default() };
    let mut watch = client.all::<NodeObject>().watch(options).await?;
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

fn announce(data: &DataDir, ports: Ports) {
    eprintln!("ready: API on port {}, ingress on {} (https {})", ports.api, ports.http, ports.https);
    eprintln!("export KUBECONFIG={}", data.join("kubeconfig").display());
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
