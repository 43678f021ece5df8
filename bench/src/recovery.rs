//! How soon a master answers that starts over a gigabyte of objects: after a clean end, after `kill -9`, and with nothing of it
//! in the kernel's cache.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use rustix::fs::{Advice, fadvise};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::kinds::{ConfigMap, Deployment, Kind, ReplicaSet};
use wherry_api::{ObjectKey, Resource};
use wherry_client::{Client, ListOptions};
use wherry_store::{Command, Encoded, Expect, Limits, Store};
use wherry_tests::{Cluster, until};

use crate::figures::{Row, millis};
use crate::process;

const OBJECTS: usize = 200_000;
/// With its metadata an object has 5 KiB, so that all have a gigabyte.
const DATA_BYTES: usize = 4_850;
const WRITES_AT_ONCE: usize = 4_096;
const BUDGET: &str = "3 s";

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let mut cluster = Cluster::start_as("master", process::wherry()?, &[])?;
    cluster.terminate()?;
    let store = cluster.data().join("store");
    let runtime = Runtime::new()?;
    let began = Instant::now();
    runtime.block_on(fill(&store))?;
    eprintln!("{OBJECTS} objects were written in {:.0?}", began.elapsed());
    let mut rows = Vec::new();
    for (how, budget) in [("after a clean end", BUDGET), ("after kill -9", BUDGET), ("nothing of it cached", "")] {
        match how {
            "after kill -9" => cluster.kill()?,
            _ => drop(cluster.terminate()?),
        }
        if budget.is_empty() {
            forget(&store)?;
        }
        let began = Instant::now();
        cluster.restart()?;
        let client = cluster.client()?;
        runtime.block_on(client.namespaced::<ConfigMap>("default").get(&name(OBJECTS - 1)))?;
        let answered = began.elapsed();
        runtime.block_on(client.namespaced::<Deployment>("default").create(&deployment(rows.len())?))?;
        until("a controller acts", || Ok((sets(&runtime, &client)? > rows.len()).then_some(())))?;
        let led = began.elapsed();
        rows.push(Row::new(format!("a master over 1 GB answers, {how}"), said(answered, led), budget));
    }
    let resident = process::resident_mib(cluster.pid())?;
    rows.push(Row::new("its resident memory", format!("{resident:.0} MiB"), ""));
    Ok(rows)
}

fn said(answered: Duration, led: Duration) -> String {
    format!("{} (its controllers act after {})", millis(answered), millis(led))
}

async fn fill(directory: &Path) -> anyhow::Result<()> {
    let store = Store::open(directory, Limits::default())?;
    let writes = (0..OBJECTS).map(|number| store.propose(put(ConfigMap::resource(), number)));
    let mut written = futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
    while let Some(written) = written.next().await {
        written.context("an object cannot be written")?;
    }
    drop(written);
    store.close().await;
    Ok(())
}

fn put(resource: &'static Resource, number: usize) -> Command {
    let name = name(number);
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": format!("app-{}", number % 100)},
        },
        "data": {"settings.yaml": "key: \"value\"\n".repeat(DATA_BYTES / 15)},
    });
    let key = ObjectKey::new("default", &name);
    Command::Put { resource, key, expect: Expect::Absent, object: Encoded::new(&object) }
}

fn name(number: usize) -> String {
    format!("map-{number:06}")
}

/// Has the kernel read it from the disk again.
fn forget(store: &Path) -> anyhow::Result<()> {
    for file in std::fs::read_dir(store)? {
        let file = File::open(file?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn deployment(number: usize) -> anyhow::Result<Deployment> {
    let labels = json!({"app": format!("probe-{number}")});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    Ok(serde_json::from_value(json!({"metadata": {"name": format!("probe-{number}")}, "spec": spec}))?)
}

fn sets(runtime: &Runtime, client: &Client) -> anyhow::Result<usize> {
    Ok(runtime.block_on(client.namespaced::<ReplicaSet>("default").list(ListOptions::default()))?.items.len())
}
