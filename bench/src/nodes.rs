//! A thousand nodes on one machine: what they cost the master at rest, and while pods come and go.
//!
//! Each is a real agent and a real proxy with a connection of its own; only the runtime is a fake, and of the tunnels there is
//! no more than their watch of the Nodes. All of them are one process beside the master, on the same cores, of which it takes about as
//! much: what is late here is late for both reasons. They ask as administrators, and join a few at a time: a place is free for the next
//! one when the one in it is ready.

use std::env::var;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_agent::{Agent, AgentConfig, ImageGc, PODS_MAX_DEFAULT, Runtimes};
use wherry_api::kinds::{Node, Pod};
use wherry_base::{Drain, SystemClock, Trigger};
use wherry_client::{Client, DeleteOptions, Informer, Kubeconfig, ListOptions, Projection};
use wherry_proxy::{Listeners, Proxy, Site, Table};
use wherry_runtime::fake::FakeRuntime;
use wherry_tests::{Cluster, until};
use wherry_vnet::{Network, NetworkConfig};

use crate::density;
use crate::figures::Row;
use crate::pods;
use crate::process;
use crate::server::{Call, Server};

/// Says how many nodes there are, where not a thousand.
const NODES_VARIABLE: &str = "WHERRY_BENCH_NODES";
const NODES: usize = 1_000;
const PODS_PER_NODE: usize = 2;
/// Nodes that join at the same time.
const JOINING: usize = 16;
/// How long a node may take to be ready, and how often it is looked for.
const JOIN_MOST: Duration = Duration::from_secs(60);
const LOOK_PERIOD: Duration = Duration::from_millis(100);
const SETTLING: Duration = Duration::from_secs(20);
const TIME_SECONDS: u32 = 30;
const TIME: Duration = Duration::from_secs(TIME_SECONDS as u64);
/// Deletions a second, each of which is followed by a creation.
const DELETIONS: u32 = 50;
const STOP_MOST: Duration = Duration::from_secs(30);
/// Ranges for 4,096 nodes.
const RANGES: [&str; 2] = ["--node-cidr-mask-size", "22"];

/// Leases are renewed each 10 s, as Kubernetes' are.
pub fn patient() -> anyhow::Result<Vec<Row>> {
    with_grace("40s")
}

/// Leases are renewed twice a second, the default.
pub fn prompt() -> anyhow::Result<Vec<Row>> {
    with_grace("2s")
}

fn with_grace(grace: &str) -> anyhow::Result<Vec<Row>> {
    let flags = [&RANGES[..], &["--node-monitor-grace-period", grace]].concat();
    let mut cluster = Cluster::start_as("master", process::wherry()?, &flags)?;
    let (master, server) = (cluster.pid(), Server::of(&cluster, 1)?);
    let (threads, tasks, data) = (Runtime::new()?, Trigger::new(), tempfile::tempdir()?);
    let kubeconfig = Kubeconfig::load(&cluster.kubeconfig())?;
    let count = count();
    let pods = PODS_PER_NODE * count;
    let nodes = stream::iter(0..count).map(|number| joined(number, &kubeconfig, data.path(), tasks.drain()));
    let began = Instant::now();
    threads.block_on(nodes.buffer_unordered(JOINING).try_collect::<Vec<()>>())?;
    let joined = began.elapsed();
    eprintln!("  {count} nodes joined in {:.1} s; grace {grace}", joined.as_secs_f64());
    let what = "/apis/apps/v1/namespaces/default/deployments";
    server.ask(Call::post(what, density::deployment("hello-http", pods)))?;
    let all_ready = || Ok((density::ready(&server)? == pods).then_some(()));
    until("all pods are ready", all_ready)?;
    eprintln!("  {pods} pods are ready");
    let at_rest = process::idle_cpu(master, SETTLING, TIME)?;
    let rest_mib = process::resident_mib(master)?;
    let client = cluster.client()?.namespaced::<Pod>("default");
    let victims = threads.block_on(pods::ready(&cluster.client()?))?;
    let (before, began) = (process::cpu_seconds(master)?, Instant::now());
    for (number, victim) in (1..=DELETIONS * TIME_SECONDS).zip(victims) {
        let name = victim.metadata.name.unwrap_or_default();
        threads.block_on(client.delete(&name, DeleteOptions::default()))?;
        thread::sleep((Duration::from_secs(1) * number / DELETIONS).saturating_sub(began.elapsed()));
    }
    let changing = (process::cpu_seconds(master)? - before) / began.elapsed().as_secs_f64();
    until("all pods are ready again", all_ready)?;
    let changing_mib = process::resident_mib(master)?;
    let unready = threads.block_on(unready(&cluster.client()?))?;
    threads.block_on(tasks.stop(STOP_MOST));
    cluster.terminate()?;
    let row = |what: &str, cpu: f64, mib: f64| {
        Row::new(
            format!("{count} nodes, {pods} pods, grace {grace}: {what}"),
            format!("{:.0} % of a core, {mib:.0} MiB", cpu * 100.0),
            "",
        )
    };
    Ok(vec![
        Row::new(format!("{count} simulated nodes join"), format!("{:.1} s", joined.as_secs_f64()), ""),
        row("the master at rest", at_rest, rest_mib),
        row(&format!("the master at {} pod changes a second", 2 * DELETIONS), changing, changing_mib),
        Row::new("nodes that are not ready in the end", unready.to_string(), "0"),
    ])
}

/// What the tunnels see of a Node.
#[derive(Clone)]
struct Seen;

impl Projection<Node> for Seen {
    fn project(_: Node) -> Self {
        Self
    }
}

fn count() -> usize {
    var(NODES_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(NODES)
}

/// A node that has joined, and is ready.
async fn joined(number: usize, kubeconfig: &Kubeconfig, data: &Path, drain: Drain) -> anyhow::Result<()> {
    let (client, name) = (Client::from_kubeconfig(kubeconfig)?, format!("sim-{number}"));
    start(&name, client.clone(), data, drain).await?;
    let nodes = client.all::<Node>();
    let is_ready = async {
        while !is_ready(&nodes.get(&name).await?) {
            tokio::time::sleep(LOOK_PERIOD).await;
        }
        Ok(())
    };
    tokio::time::timeout(JOIN_MOST, is_ready).await.with_context(|| format!("{name} was not ready in time"))?
}

async fn start(name: &str, client: Client, data: &Path, drain: Drain) -> anyhow::Result<()> {
    let config = AgentConfig {
        node_name: name.to_owned(),
        node_ip: IpAddr::from(Ipv4Addr::LOCALHOST),
        kubelet_port: 10250,
        data_dir: data.join(name),
        pods_max: PODS_MAX_DEFAULT,
        taints: Vec::new(),
        labels: [(wherry_agent::runtime_label("fake"), "true".to_owned())].into(),
        image_gc: ImageGc::default(),
        confinement_lacking: Vec::new(),
    };
    let registered = wherry_agent::register(&client, &config, None).await?;
    let pod_cidr = registered.spec.and_then(|spec| spec.pod_cidr).context("no range")?.parse()?;
    let (clock, table) = (SystemClock::shared(), Table::new());
    let network = NetworkConfig {
        pod_cidr,
        cluster_cidr: "10.128.0.0/10".parse()?,
        service_cidr: "10.96.0.0/12".parse()?,
        node_ip: config.node_ip,
    };
    let network = Network::new(network, Arc::clone(&table) as _);
    let site = Site { node: name.to_owned(), bind_address: config.node_ip };
    let proxy = Proxy::new(client.clone(), table, Arc::clone(&network), clock.as_ref(), site)?;
    proxy.run(Listeners { http: None, https: None }, &drain);
    drop(Informer::<Seen>::spawn::<Node>(client.all(), "", "", &drain));
    let runtimes = Runtimes::new(vec![FakeRuntime::new()], Vec::new());
    let agent = Agent::new(config, client, runtimes, network, clock)?;
    drain.spawn_graceful(agent.run(drain.clone()));
    Ok(())
}

async fn unready(client: &Client) -> anyhow::Result<usize> {
    let nodes = client.all::<Node>().list(ListOptions::default()).await?.items;
    Ok(nodes.iter().filter(|node| !is_ready(node)).count())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
