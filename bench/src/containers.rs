//! Linux containers beside modules in one run, and pods of both: how soon one is ready, what each costs, many at once, and
//! requests through one Service.
//!
//! A container runs a native server, a module `hello-http`; both say `Hello from …` and are probed alike. Memory is proportional
//! (`Pss`) and counts all that a cluster and its engine have running: nodes, sandboxes, dockerd, containerd, a shim for each
//! container, the containers' own processes; not what the kernel holds for them.

use std::env::var;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_tests::{Cluster, Engine, get, until};

use crate::figures::{Row, Samples, median, millis};
use crate::load::{self, Load};
use crate::peers::Native;
use crate::server::Server;
use crate::{density, image, pods, process};

/// The parts of this measure, whose rows are printed one part after the other.
pub const PARTS: [crate::Part; 3] = [readiness, many, requests];

/// How many pods are made, of each kind and for each part, where the environment says nothing else.
const PODS: usize = 50;
const PODS_VARIABLE: &str = "WHERRY_BENCH_CONTAINERS";
/// How long they may take in all.
const PATIENCE: Duration = Duration::from_secs(600);
const SETTLING: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 64;
const PORT: u16 = 8080;
const HOST: &str = "web.example";

/// What a pod is made of. The containers come first: all others are held against them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Module,
    Both,
}

const KINDS: [Kind; 3] = [Kind::Container, Kind::Module, Kind::Both];

/// What many pods of a kind cost.
struct Cost {
    /// From their Deployment's creation until all are ready.
    taken: Duration,
    first_mib: f64,
    further_mib: f64,
}

/// One pod after the other, from its creation to the moment when a watch shows it ready.
fn readiness() -> anyhow::Result<Vec<Row>> {
    with_engine(|engine| {
        let (cluster, runtime) = (cluster(engine)?, Runtime::new()?);
        let measured = KINDS.iter().map(|kind| {
            let pod = |number: usize| Ok(serde_json::from_value(kind.pod(&format!("{}-{number}", kind.name())))?);
            Ok((*kind, runtime.block_on(pods::in_turn(&cluster, count(), pod))?))
        });
        let measured: Vec<(Kind, Samples)> = measured.collect::<anyhow::Result<_>>()?;
        let p50 = |samples: &Samples| samples.percentile(0.5).as_secs_f64();
        Ok(rows(&measured, "pod created → Ready seen by a watch", Samples::p50_p99, p50))
    })
}

/// Many replicas at once, and what they take.
fn many() -> anyhow::Result<Vec<Row>> {
    with_engine(|engine| {
        let measured = KINDS.iter().map(|kind| Ok((*kind, cost(engine, *kind)?)));
        let measured: Vec<(Kind, Cost)> = measured.collect::<anyhow::Result<_>>()?;
        let seconds = |cost: &Cost| cost.taken.as_secs_f64();
        let mib = |mib: f64| format!("{mib:.2} MiB");
        let replicas = format!("{} replicas from apply to all Ready", count());
        let (first, further) = ("memory of the first pod", "memory of each further pod");
        Ok([
            rows(&measured, &replicas, |cost| format!("{:.1} s", seconds(cost)), seconds),
            rows(&measured, first, |cost| mib(cost.first_mib), |cost| cost.first_mib),
            rows(&measured, further, |cost| mib(cost.further_mib), |cost| cost.further_mib),
        ]
        .into_iter()
        .flatten()
        .collect())
    })
}

/// Requests through one Service, whose pods are containers and modules in turn.
fn requests() -> anyhow::Result<Vec<Row>> {
    with_engine(|engine| {
        let (cluster, native, runtime) = (cluster(engine)?, Native::start()?, Runtime::new()?);
        let kinds = [Kind::Container, Kind::Module];
        let deployments = kinds.map(|kind| kind.deployment(kind.name(), 1).to_string());
        process::apply(&cluster, &[&deployments[..], &[process::INGRESS.to_owned()]].concat().join("\n---\n"))?;
        let ingress = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.ports()?.http));
        let mut measured = kinds.map(|kind| (kind, Vec::new()));
        let mut peer = Vec::new();
        for _ in 0..ROUNDS {
            peer.push(load::run(native.address, "localhost", CONNECTIONS, ROUND)?);
            for (kind, rounds) in &mut measured {
                serve(&cluster, &runtime, *kind)?;
                rounds.push(load::run(ingress, HOST, CONNECTIONS, ROUND)?);
            }
        }
        let mut all = vec![Row::new("the container's server, asked directly", asked(&peer), "")];
        let what = "requests through one Service";
        all.extend(rows(&measured, what, |rounds| asked(rounds), |rounds| per_second(rounds)));
        Ok(all)
    })
}

fn with_engine(part: impl FnOnce(&Engine) -> anyhow::Result<Vec<Row>>) -> anyhow::Result<Vec<Row>> {
    let Some(engine) = Engine::start("containers beside modules") else {
        return Ok(vec![Row::new("containers beside modules", "no container engine can run here", "")]);
    };
    image::import(&engine)?;
    part(&engine)
}

/// One node, with the engine and the module.
fn cluster(engine: &Engine) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start_with(process::wherry()?, &["--docker", &engine.socket().display().to_string()])?;
    cluster.load_guest("hello-http")?;
    Ok(cluster)
}

/// How many pods are made.
fn count() -> usize {
    var(PODS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(PODS)
}

/// Of one kind each; beside what it is for containers.
fn rows<T>(measured: &[(Kind, T)], what: &str, told: impl Fn(&T) -> String, figure: impl Fn(&T) -> f64) -> Vec<Row> {
    let containers = measured.first().map(|(_, measured)| figure(measured)).unwrap_or_default();
    let row = |(kind, measured): &(Kind, T)| {
        let row = Row::new(format!("{what}: {}", kind.told()), told(measured), "");
        if *kind == Kind::Container { row } else { row.ratio(figure(measured), containers, "a container") }
    };
    measured.iter().map(row).collect()
}

fn cost(engine: &Engine, kind: Kind) -> anyhow::Result<Cost> {
    let mut cluster = cluster(engine)?;
    let server = Server::of(&cluster, 1)?;
    let before = used_mib(engine)?;
    scale(&cluster, &server, kind, 1)?;
    let first = used_mib(engine)?;
    let taken = scale(&cluster, &server, kind, count() + 1)?;
    let all = used_mib(engine)?;
    // Else its containers would count for the next.
    cluster.terminate()?;
    Ok(Cost { taken, first_mib: first - before, further_mib: (all - first) / count() as f64 })
}

/// Applies a Deployment of so many replicas; how long until all are ready.
fn scale(cluster: &Cluster, server: &Server, kind: Kind, replicas: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    process::apply(cluster, &kind.deployment("many", replicas).to_string())?;
    loop {
        let ready = until("all pods are ready", || Ok((density::ready(server)? == replicas).then_some(())));
        if ready.is_ok() || began.elapsed() > PATIENCE {
            return ready.map(|()| began.elapsed());
        }
    }
}

/// What everything takes that names the engine's directory when it starts, and what that has started, once at rest.
fn used_mib(engine: &Engine) -> anyhow::Result<f64> {
    thread::sleep(SETTLING);
    let directory = engine.socket().parent().map(PathBuf::from).context("the engine's directory")?;
    Ok(process::family_mib(&directory.display().to_string()))
}

/// Lets the Service have the pods of a kind, and waits until one of them answers.
fn serve(cluster: &Cluster, runtime: &Runtime, kind: Kind) -> anyhow::Result<()> {
    let spec = json!({"selector": {"app": kind.name()}, "ports": [{"port": 80, "targetPort": PORT}]});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
    process::apply(cluster, &service.to_string())?;
    let port = cluster.ports()?.http;
    let is_served = || runtime.block_on(get(port, HOST, "/")).is_ok_and(|answer| answer.body.contains(kind.greeting()));
    until("the Service has the pods", || Ok(is_served().then_some(())))
}

fn per_second(rounds: &[Load]) -> f64 {
    median(rounds.iter().map(|round| round.per_second))
}

fn asked(rounds: &[Load]) -> String {
    let p99 = median(rounds.iter().map(|round| round.latency.percentile(0.99).as_secs_f64()));
    format!("{:.0} requests/s, p99 {}", per_second(rounds), millis(Duration::from_secs_f64(p99)))
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Module => "module",
            Self::Both => "both",
        }
    }

    /// As rows have it.
    const fn told(self) -> &'static str {
        match self {
            Self::Container => "a container",
            Self::Module => "a module",
            Self::Both => "a module and a container in a pod",
        }
    }

    /// What tells its answers from the others'.
    const fn greeting(self) -> &'static str {
        match self {
            Self::Container => "Hello from nobody",
            Self::Module | Self::Both => "Hello from module",
        }
    }

    fn pod(self, name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": self.spec()})
    }

    fn deployment(self, name: &str, replicas: usize) -> Value {
        let labels = json!({"app": self.name()});
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": self.spec()},
            },
        })
    }

    fn spec(self) -> Value {
        let containers = match self {
            Self::Container => vec![native(PORT)],
            Self::Module => vec![module()],
            Self::Both => vec![module(), native(PORT + 1)],
        };
        json!({"containers": containers, "enableServiceLinks": false, "terminationGracePeriodSeconds": 1})
    }
}

fn module() -> Value {
    probed("module", "hello-http:v1", &[], PORT)
}

fn native(port: u16) -> Value {
    probed("native", image::NAME, &["http", &port.to_string()], port)
}

fn probed(name: &str, image: &str, args: &[&str], port: u16) -> Value {
    let probe = json!({"httpGet": {"path": "/", "port": port}, "periodSeconds": 1});
    let ports = json!([{"containerPort": port}]);
    json!({"name": name, "image": image, "args": args, "ports": ports, "readinessProbe": probe})
}
