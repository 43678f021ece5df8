//! Nodes that are killed under requests to another's ingress: what failed, and how long until all replicas are ready again.
//!
//! A machine that was killed does not come back: another joins in its place, and its Node is deleted.

use std::collections::VecDeque;
use std::env::var;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::kinds::Node;
use wherry_client::DeleteOptions;
use wherry_tests::{Cluster, Machine, until};

use crate::density::deployment;
use crate::figures::{Row, Samples, millis};
use crate::load::{Outcome, Steady};
use crate::pods::ready;
use crate::process;

/// How many nodes are killed where the environment says nothing else.
const KILLS: usize = 10;
const KILLS_VARIABLE: &str = "WHERRY_BENCH_KILLS";
/// Nodes with pods at any time, beside the one whose ingress is asked.
const VICTIMS: usize = 3;
const REPLICAS: usize = 6;
const CONNECTIONS: usize = 50;
const REQUESTS_A_SECOND: usize = 1_000;
const FAILURES_SHOWN_MAX: usize = 5;
/// What DESIGN.md promises of a node's death is for these.
const FLAGS: [&str; 4] = ["--node-monitor-grace-period", "2s", "--default-unreachable-toleration-seconds", "1"];
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: many}, ports: [{port: 80, targetPort: 8080}]}
";

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let kills = var(KILLS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut cluster = Cluster::start_with(process::wherry()?, &FLAGS)?;
    cluster.load_guest("hello-http")?;
    let token = String::from_utf8(cluster.wherry(&["token", "create"])?.stdout)?;
    let mut nodes = Nodes { cluster: &cluster, token: token.trim(), victims: VecDeque::new(), joined: 0 };
    nodes.fill()?;
    cluster
        .apply("default", &format!("{}\n---{SERVICE}---{}", deployment("hello-http", REPLICAS), process::INGRESS))?;
    let (client, runtime) = (cluster.client()?, Runtime::new()?);
    let pods = || {
        let pods = runtime.block_on(ready(&client))?;
        anyhow::Ok(pods.into_iter().filter_map(|pod| pod.spec?.node_name).collect::<Vec<_>>())
    };
    until("all pods are ready", || Ok((pods()?.len() == REPLICAS).then_some(())))?;
    let ingress = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.ports()?.http));
    until("the ingress answers", || {
        Ok(Steady::begin(ingress, "web.example", 1, 1)?.end()?.failures.is_empty().then_some(()))
    })?;
    let load = Steady::begin(ingress, "web.example", CONNECTIONS, REQUESTS_A_SECOND)?;
    let mut strength = Vec::new();
    for _ in 0..kills {
        let (name, mut victim) = nodes.victims.pop_front().context("a node")?;
        until("it has pods", || Ok(pods()?.contains(&name).then_some(())))?;
        let began = Instant::now();
        victim.kill()?;
        until("all pods are ready elsewhere", || {
            let pods = pods()?;
            Ok((pods.len() == REPLICAS && !pods.contains(&name)).then_some(()))
        })?;
        strength.push(began.elapsed());
        runtime.block_on(client.all::<Node>().delete(&name, DeleteOptions::default()))?;
        nodes.fill()?;
    }
    let outcome = load.end()?;
    drop(nodes);
    cluster.terminate()?;
    Ok(rows(kills, &outcome, &Samples::new(strength)))
}

fn rows(kills: usize, outcome: &Outcome, strength: &Samples) -> Vec<Row> {
    for failure in outcome.failures.iter().take(FAILURES_SHOWN_MAX) {
        eprintln!("a request failed: {failure}");
    }
    let (failed, most) = (outcome.failures.len(), outcome.latency.percentile(1.0));
    let asked = outcome.latency.count() + failed;
    vec![
        Row::new(
            format!("{kills} nodes killed under {REQUESTS_A_SECOND} requests/s by another's ingress: failed requests"),
            format!("{failed} of {asked}"),
            "0",
        ),
        Row::new("the longest answer meanwhile", format!("{}, {}", millis(most), outcome.latency.p50_p99()), ""),
        Row::new(
            "node killed → all replicas ready elsewhere",
            format!("{}, most {}", strength.p50_p99(), millis(strength.percentile(1.0))),
            "5 s",
        ),
    ]
}

struct Nodes<'a> {
    cluster: &'a Cluster,
    token: &'a str,
    /// The oldest first.
    victims: VecDeque<(String, Machine)>,
    joined: u8,
}

impl Nodes<'_> {
    /// Lets nodes join until there are as many as are to have pods.
    fn fill(&mut self) -> anyhow::Result<()> {
        while self.victims.len() < VICTIMS {
            self.joined += 1;
            let name = format!("n{}", self.joined);
            let address = Ipv4Addr::from([127, 0, 1, self.joined]).to_string();
            let machine = Machine::join(self.cluster, &name, &address, self.token, &[])?;
            self.victims.push_back((name, machine));
        }
        Ok(())
    }
}
