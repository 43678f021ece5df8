//! What modules cost in processes of their own (`--isolation namespace`), beside the same in the node's process
//! (`--isolation shared`) in one run.
//!
//! Memory is proportional (`Pss`): a page that many processes map counts once among them all. What is told of a cluster is
//! the sum over the node's process and its sandboxes, master included.

mod ends;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_tests::{Cluster, until};

use crate::density::deployment;
use crate::figures::{Row, median, millis};
use crate::load::{self, Load};
use crate::peers::Native;
use crate::process::{self, Cost, SHARED};
use crate::server::{Call, Server};
use crate::{ingress, pods, streams};

/// The parts of this measure, whose rows are printed one part after the other.
pub const PARTS: [crate::Part; 6] = [requests, between_pods, readiness, ends::measure, memory, density];

const NAMESPACE: [&str; 2] = ["--isolation", "namespace"];

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 64;

const PODS_OF_ONE: usize = 1_000;
const NAMESPACES: usize = 100;
const PODS_OF_EACH: usize = 100;
const SETTLING: Duration = Duration::from_secs(5);

/// A cluster under load, or the native server.
struct Asked {
    address: SocketAddr,
    host: &'static str,
    cluster: Option<Cluster>,
    rounds: Vec<(Load, Duration)>,
}

/// Requests through the ingress: how many, how late, and what CPU one costs in all processes but the generator's.
fn requests() -> anyhow::Result<Vec<Row>> {
    let native = Native::start()?;
    let mut all = vec![Asked::new(native.address, "localhost", None)];
    for arguments in [SHARED, NAMESPACE] {
        let (cluster, address) = ingress::serving(&arguments)?;
        all.push(Asked::new(address, "hello.localhost", Some(cluster)));
    }
    for _ in 0..ROUNDS {
        for one in &mut all {
            one.ask()?;
        }
    }
    all.iter_mut().filter_map(|one| one.cluster.as_mut()).try_for_each(|cluster| cluster.terminate().map(drop))?;
    let [native, shared, namespace] = all.as_slice() else { return Ok(Vec::new()) };
    let row = |name, asked: &Asked, budget| {
        let measured = format!("{:.0} requests/s, p99 {}", asked.per_second(), millis(asked.p99()));
        Row::new(name, measured, budget).ratio(asked.per_second(), native.per_second(), "native")
    };
    let micros = |asked: &Asked| format!("{:.1} µs", asked.cpu_seconds() * 1e6);
    Ok(vec![
        Row::new("native hyper server", format!("{:.0} requests/s", native.per_second()), ""),
        row("ingress → module, isolation shared", shared, "0.40 × native, p99 3 ms"),
        row("ingress → module, isolation namespace", namespace, "0.27 × native, p99 3 ms").ratio(
            namespace.per_second(),
            shared.per_second(),
            "shared",
        ),
        Row::new("CPU of a request, isolation shared", micros(shared), ""),
        Row::new("CPU of a request, isolation namespace", micros(namespace), "1.25 × shared").ratio(
            namespace.cpu_seconds(),
            shared.cpu_seconds(),
            "shared",
        ),
    ])
}

impl Asked {
    const fn new(address: SocketAddr, host: &'static str, cluster: Option<Cluster>) -> Self {
        Self { address, host, cluster, rounds: Vec::new() }
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        let used = || self.cluster.as_ref().map_or(Ok(0.0), |cluster| Ok(process::cost(cluster)?.cpu_seconds));
        let before: anyhow::Result<f64> = used();
        let load = load::run(self.address, self.host, CONNECTIONS, ROUND)?;
        let used = Duration::from_secs_f64((used()? - before?).max(0.0));
        self.rounds.push((load, used));
        Ok(())
    }

    fn per_second(&self) -> f64 {
        median(self.rounds.iter().map(|(load, _)| load.per_second))
    }

    fn p99(&self) -> Duration {
        let all = self.rounds.iter().map(|(load, _)| load.latency.percentile(0.99).as_secs_f64());
        Duration::from_secs_f64(median(all))
    }

    /// Of one request.
    fn cpu_seconds(&self) -> f64 {
        median(self.rounds.iter().map(|(load, used)| used.as_secs_f64() / load.latency.count() as f64))
    }
}

/// A stream within a sandbox and one from sandbox to sandbox, beside the node's process and the kernel's loopback.
fn between_pods() -> anyhow::Result<Vec<Row>> {
    let kernel = streams::over_loopback()?;
    let cases = [
        ("shared", SHARED, "default", "4 × loopback", "0.25 × loopback"),
        ("within a sandbox", NAMESPACE, "default", "4 × loopback", "0.25 × loopback"),
        ("across two sandboxes", NAMESPACE, "other", "1 × loopback", "1 × loopback"),
    ];
    let mut rows = Vec::new();
    for (name, arguments, namespace, rate, round_trip) in cases {
        rows.extend(streams::rows(name, &streams::between_pods(&arguments, namespace)?, &kernel, rate, round_trip));
    }
    Ok(rows)
}

/// One pod after the other, from its creation to ready.
fn readiness() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (guest, kind) in [("hello-http", "HTTP"), ("echo-tcp", "command")] {
        let mut shared = None;
        for arguments in [SHARED, NAMESPACE] {
            let mut cluster = Cluster::start_with(process::wherry()?, &arguments)?;
            cluster.load_guest(guest)?;
            let samples = Runtime::new()?.block_on(pods::one_by_one(&cluster, guest))?;
            cluster.terminate()?;
            let name = format!("{kind} pod created → Ready, {}", arguments.join(" "));
            let p50 = samples.percentile(0.5).as_secs_f64();
            let row = Row::new(name, samples.p50_p99(), "5 ms + 3 × fdatasync, p99 three times that");
            rows.push(row.ratio(p50, *shared.get_or_insert(p50), "shared"));
        }
    }
    Ok(rows)
}

/// What one sandbox costs with its first pod, and what each further pod of it does.
fn memory() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for guest in ["hello-http", "echo-tcp"] {
        let mut shared = None;
        for arguments in [SHARED, NAMESPACE] {
            let (one, all) = first_and_further(guest, &arguments)?;
            let further = (all.pss_mib - one.pss_mib) * 1024.0 / (PODS_OF_ONE - 1) as f64;
            let told = arguments.join(" ");
            if one.sandboxes > 0 {
                let measured = format!("{:.1} MiB, the node beside it {:.1}", one.sandboxes_mib, one.node_mib());
                rows.push(Row::new(format!("a sandbox with one pod of {guest}"), measured, ""));
            }
            let row = Row::new(format!("a further pod of {guest}, {told}"), format!("{further:.1} KiB"), "");
            rows.push(row.ratio(further, *shared.get_or_insert(further), "shared"));
        }
    }
    Ok(rows)
}

/// A cluster with one pod of a guest, and with all of them.
fn first_and_further(guest: &str, arguments: &[&str]) -> anyhow::Result<(Cost, Cost)> {
    let mut cluster = Cluster::start_with(process::wherry()?, arguments)?;
    cluster.load_guest(guest)?;
    let server = Server::of(&cluster, 1)?;
    let (one, _) = pods_in(&cluster, &server, &["default".to_owned()], guest, 1)?;
    let more = json!({"spec": {"replicas": PODS_OF_ONE}}).to_string();
    server.ask(Call::merge("/apis/apps/v1/namespaces/default/deployments/many".to_owned(), more))?;
    let all = settled(&cluster, &server, PODS_OF_ONE)?;
    cluster.terminate()?;
    Ok((one, all))
}

/// Many HTTP pods over many namespaces.
fn density() -> anyhow::Result<Vec<Row>> {
    let (mut rows, mut shared) = (Vec::new(), None);
    let namespaces: Vec<String> = (0..NAMESPACES).map(|number| format!("space-{number}")).collect();
    for arguments in [SHARED, NAMESPACE] {
        let mut cluster = Cluster::start_with(process::wherry()?, &arguments)?;
        cluster.load_guest("hello-http")?;
        let server = Server::of(&cluster, 1)?;
        for name in &namespaces {
            server.ask(Call::post("/api/v1/namespaces", json!({"metadata": {"name": name}}).to_string()))?;
        }
        let (cost, taken) = pods_in(&cluster, &server, &namespaces, "hello-http", PODS_OF_EACH)?;
        // Sandboxes would wait for another node, had this one not ended them.
        cluster.terminate()?;
        let taken = taken.as_secs_f64();
        let (peer_taken, peer_mib) = *shared.get_or_insert((taken, cost.pss_mib));
        let told = arguments.join(" ");
        let name = format!("{} HTTP pods over {NAMESPACES} namespaces, {told}", NAMESPACES * PODS_OF_EACH);
        rows.push(Row::new(name, format!("{taken:.1} s to Ready"), "8 s").ratio(taken, peer_taken, "shared"));
        let measured =
            format!("{:.0} MiB, {:.0} of them in {} sandboxes", cost.pss_mib, cost.sandboxes_mib, cost.sandboxes);
        let row = Row::new(format!("memory with them, {told}"), measured, "300 MiB");
        rows.push(row.ratio(cost.pss_mib, peer_mib, "shared"));
    }
    Ok(rows)
}

/// So many pods in each of the namespaces: what the cluster costs once it has come to rest, and how long it took.
fn pods_in(
    cluster: &Cluster,
    server: &Server,
    namespaces: &[String],
    guest: &str,
    each: usize,
) -> anyhow::Result<(Cost, Duration)> {
    let began = Instant::now();
    for name in namespaces {
        server.ask(Call::post(format!("/apis/apps/v1/namespaces/{name}/deployments"), deployment(guest, each)))?;
    }
    await_ready(server, namespaces.len() * each)?;
    let taken = began.elapsed();
    Ok((settled(cluster, server, namespaces.len() * each)?, taken))
}

fn settled(cluster: &Cluster, server: &Server, pods: usize) -> anyhow::Result<Cost> {
    await_ready(server, pods)?;
    std::thread::sleep(SETTLING);
    process::cost(cluster)
}

fn await_ready(server: &Server, pods: usize) -> anyhow::Result<()> {
    until("all pods are ready", || Ok((ready(server)? == pods as u64).then_some(())))
}

/// Over all deployments.
fn ready(server: &Server) -> anyhow::Result<u64> {
    let (answer, _) = server.ask(Call::get("/apis/apps/v1/deployments".to_owned()))?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let items = answer.pointer("/items").and_then(serde_json::Value::as_array);
    let of_one = |item: &serde_json::Value| item.pointer("/status/readyReplicas")?.as_u64();
    Ok(items.into_iter().flatten().filter_map(of_one).sum())
}
