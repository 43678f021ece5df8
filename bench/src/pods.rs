//! One pod after the other: from its creation to the moment when a watch shows it ready.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::Error;
use wherry_api::kinds::Pod;
use wherry_client::{Api, Client, Event, ListOptions, WatchOptions};
use wherry_tests::{Cluster, is_ready};

use crate::figures::{Row, Samples, millis};
use crate::process;

const PODS: usize = 200;
/// Compiles the module.
const WARM_UP: usize = 3;

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(process::wherry()?)?;
    let disk = process::fdatasync(cluster.data())?.percentile(0.5);
    let mut rows = Vec::new();
    for (guest, kind) in [("hello-http", "HTTP"), ("echo-tcp", "command")] {
        cluster.load_guest(guest)?;
        let samples = Runtime::new()?.block_on(one_by_one(&cluster, guest))?;
        let goal = Duration::from_millis(5) + disk * 3;
        let measured = format!("{}; the goal here is {}, three times that", samples.p50_p99(), millis(goal));
        rows.push(Row::new(format!("{kind} pod created → Ready seen by a watch"), measured, "5 ms + 3 × fdatasync"));
    }
    Ok(rows)
}

/// How long each of some pods of a guest took, once the module was compiled.
pub async fn one_by_one(cluster: &Cluster, guest: &str) -> anyhow::Result<Samples> {
    in_turn(cluster, PODS, |number| pod(&format!("{guest}-{number}"), guest)).await
}

/// How long each of `count` pods took that are created one after the other, after some that do not count.
pub async fn in_turn(
    cluster: &Cluster,
    count: usize,
    pod: impl Fn(usize) -> anyhow::Result<Pod>,
) -> anyhow::Result<Samples> {
    let pods: Api<Pod> = cluster.client()?.namespaced("default");
    let mut events = pods.watch(WatchOptions::default()).await?;
    let mut samples = Vec::new();
    for number in 0..count + WARM_UP {
        let pod = pod(number)?;
        let began = Instant::now();
        pods.create(&pod).await?;
        awaited(&mut events, pod.metadata.name.as_deref().unwrap_or_default(), is_ready).await?;
        samples.push(began.elapsed());
    }
    Ok(Samples::new(samples.split_off(WARM_UP)))
}

/// Waits until a watch shows that pod so.
pub async fn awaited(
    events: &mut BoxStream<'static, Result<Event<Pod>, Error>>,
    name: &str,
    is_so: impl Fn(&Pod) -> bool,
) -> anyhow::Result<()> {
    loop {
        let event = events.next().await.context("the watch ended")??;
        if let Event::Applied(pod) = event
            && pod.metadata.name.as_deref() == Some(name)
            && is_so(&pod)
        {
            return Ok(());
        }
    }
}

/// The pods of the default namespace that are ready and stay.
pub async fn ready(client: &Client) -> anyhow::Result<Vec<Pod>> {
    let mut pods = client.namespaced::<Pod>("default").list(ListOptions::default()).await?.items;
    pods.retain(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
    Ok(pods)
}

/// A pod of one guest.
pub fn pod(name: &str, guest: &str) -> anyhow::Result<Pod> {
    let container = json!({"name": "guest", "image": format!("{guest}:v1"), "ports": [{"containerPort": 8080}]});
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": [container], "enableServiceLinks": false}});
    Ok(serde_json::from_value(pod)?)
}
