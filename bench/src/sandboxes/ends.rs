//! How soon what a sandbox took down is back, and how soon a process is gone that never yields.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use http::Method;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_client::{Api, WatchOptions};
use wherry_tests::{Cluster, is_ready, until};

use super::NAMESPACE;
use crate::figures::{Row, Samples};
use crate::pods::{awaited, pod};
use crate::process;
use crate::server::{Call, Server};

const KILLED: usize = 20;
const LOOPS: usize = 20;
/// Between two looks at a process.
const LOOK: Duration = Duration::from_micros(100);

/// Measures both.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (guest, kind) in [("hello-http", "HTTP"), ("echo-tcp", "command")] {
        let what = format!("sandbox killed → its {kind} pod ready again, as a watch sees it");
        rows.push(Row::new(what, restarts(guest)?.p50_p99(), "100 ms"));
    }
    let what = "a loop in wasm-isolated deleted at once → its process gone";
    rows.push(Row::new(what, ends()?.p50_p99(), "10 ms + 1 s of grace"));
    Ok(rows)
}

/// Each in a namespace of its own, since a sandbox that is killed twice waits.
fn restarts(guest: &str) -> anyhow::Result<Samples> {
    let mut cluster = Cluster::start_with(process::wherry()?, &NAMESPACE)?;
    cluster.load_guest(guest)?;
    let server = Server::of(&cluster, 1)?;
    let mut samples = Vec::new();
    for number in 0..KILLED {
        let name = format!("space-{number}");
        server.ask(Call::post("/api/v1/namespaces", json!({"metadata": {"name": name}}).to_string()))?;
        samples.push(Runtime::new()?.block_on(restart(&cluster, &name, guest))?);
    }
    cluster.terminate()?;
    Ok(Samples::new(samples))
}

async fn restart(cluster: &Cluster, namespace: &str, guest: &str) -> anyhow::Result<Duration> {
    let pods: Api<Pod> = cluster.client()?.namespaced(namespace);
    let mut events = pods.watch(WatchOptions::default()).await?;
    pods.create(&pod("only", guest)?).await?;
    awaited(&mut events, "only", is_ready).await?;
    let sandbox = sandbox(cluster, &format!("namespace-{namespace}"))?;
    let began = Instant::now();
    // SAFETY: a signal to a process that this program's node has started touches no memory of this one.
    unsafe { libc::kill(sandbox.cast_signed(), libc::SIGKILL) };
    awaited(&mut events, "only", |pod| restarts_of(pod) == 1 && is_ready(pod)).await?;
    Ok(began.elapsed())
}

fn restarts_of(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

/// `kubectl delete --grace-period=0` of pods whose only container loops without ever yielding. The node gives a pod whose
/// object is gone a second to stop by itself, which these do not use.
fn ends() -> anyhow::Result<Samples> {
    let mut cluster = Cluster::start(process::wherry()?)?;
    cluster.load_guest("misbehave")?;
    let server = Server::of(&cluster, 1)?;
    let mut samples = Vec::new();
    for number in 0..LOOPS {
        let path = format!("/api/v1/namespaces/default/pods/loop-{number}");
        let sandbox = looping(&cluster, &server, &format!("loop-{number}"), &path)?;
        let delete = format!("{path}?gracePeriodSeconds=0");
        let began = Instant::now();
        server.ask(Call { method: Method::DELETE, path: delete, content_type: None, body: String::new() })?;
        while process::lives(sandbox) {
            std::thread::sleep(LOOK);
        }
        samples.push(began.elapsed());
    }
    cluster.terminate()?;
    Ok(Samples::new(samples))
}

/// Starts one; its process, once it loops.
fn looping(cluster: &Cluster, server: &Server, name: &str, path: &str) -> anyhow::Result<u32> {
    let container = json!({"name": "loop", "image": "misbehave:v1", "args": ["spin"]});
    let spec = json!({"runtimeClassName": "wasm-isolated", "containers": [container]});
    let pod = json!({"metadata": {"name": name}, "spec": spec}).to_string();
    server.ask(Call::post("/api/v1/namespaces/default/pods", pod))?;
    let uid = until("the loop runs", || {
        let pod: Pod = serde_json::from_slice(&server.ask(Call::get(path.to_owned()))?.0)?;
        let is_running = pod.status.and_then(|status| status.phase).is_some_and(|phase| phase == "Running");
        Ok(pod.metadata.uid.filter(|_| is_running))
    })?;
    let process = sandbox(cluster, &format!("pod-{uid}"))?;
    let before = process::cpu_seconds(process)?;
    until("it has used some CPU", || Ok((process::cpu_seconds(process)? > before).then_some(())))?;
    Ok(process)
}

/// The process of the sandbox of that name.
fn sandbox(cluster: &Cluster, name: &str) -> anyhow::Result<u32> {
    let note = fs::read_to_string(cluster.data().join(format!("node/sandboxes/{name}.pid")))?;
    Ok(note.split_whitespace().next().context("an empty note")?.parse()?)
}
