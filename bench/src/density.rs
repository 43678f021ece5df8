//! Many pods on one node, in its process: how long until all are ready, and what they cost, master included.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wherry_tests::{Cluster, until};

use crate::figures::Row;
use crate::process;
use crate::server::{Call, Server};

const HTTP_PODS: usize = 10_000;
const COMMAND_PODS: usize = 1_000;
const SETTLING: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = many("hello-http", HTTP_PODS, "8 s", "300 MiB")?;
    rows.extend(many("echo-tcp", COMMAND_PODS, "", "10,000: 1.2 GiB")?);
    Ok(rows)
}

fn many(guest: &str, replicas: usize, time: &'static str, memory: &'static str) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start_with(process::wherry()?, &process::SHARED)?;
    cluster.load_guest(guest)?;
    let server = Server::of(&cluster, 1)?;
    let began = Instant::now();
    server.ask(Call::post(DEPLOYMENT, deployment(guest, replicas)))?;
    until("all pods are ready", || Ok((ready(&server)? == replicas).then_some(())))?;
    let taken = began.elapsed().as_secs_f64();
    let idle = process::idle_cpu(cluster.pid(), SETTLING, IDLE)?;
    let resident = process::resident_mib(cluster.pid())?;
    Ok(vec![
        Row::new(format!("{replicas} pods of {guest} to Ready"), format!("{taken:.1} s"), time),
        Row::new("resident memory with them", format!("{resident:.0} MiB"), memory),
        Row::new("idle CPU with them", format!("{:.2} % of a core", idle * 100.0), "1 %"),
    ])
}

/// How many pods of the Deployment `many` are ready.
pub fn ready(server: &Server) -> anyhow::Result<usize> {
    let (answer, _) = server.ask(Call::get(format!("{DEPLOYMENT}/many")))?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let ready = answer.pointer("/status/readyReplicas").and_then(serde_json::Value::as_u64);
    Ok(usize::try_from(ready.unwrap_or(0))?)
}

/// A Deployment `many` of that many pods of a guest.
pub fn deployment(guest: &str, replicas: usize) -> String {
    let container = json!({"name": "guest", "image": format!("{guest}:v1"), "ports": [{"containerPort": 8080}]});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {"labels": {"app": "many"}},
                "spec": {"containers": [container], "enableServiceLinks": false},
            },
        },
    })
    .to_string()
}
