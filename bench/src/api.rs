//! The API over TLS, server and clients on the same cores, every write durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wherry_tests::Cluster;

use crate::figures::{Row, Samples, median, millis};
use crate::load::Load;
use crate::process;
use crate::server::{Call, Server};

const CLIENTS: [usize; 3] = [1, 16, 64];
const CLIENTS_MAX: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
const LISTED: usize = 10_000;
const LISTS: usize = 5;
const WATCHERS: usize = 100;
const EVENTS: usize = 1_000;
const WRITES: usize = 100_000;
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(process::wherry()?)?;
    let server = Server::of(&cluster, CLIENTS_MAX)?;
    let mut rows = vec![Row::new("the disk's fdatasync of 4 KiB", process::fdatasync(cluster.data())?.p50_p99(), "")];
    let created = Arc::new(AtomicUsize::new(0));
    for clients in CLIENTS {
        operations(&server, clients, &created, &mut rows)?;
    }
    lists(&server, &created, &mut rows)?;
    rows.push(watches(&server)?);
    let existing = created.load(Ordering::Relaxed);
    let many = server.load_all(WRITES, move |n| annotate(n, existing))?;
    rows.push(row("100,000 patches, 64 clients", &many, ""));
    rows.push(row("create, 64 clients, after them", &create(&server, CLIENTS_MAX, &created)?, "as before them"));
    rows.push(row("get, 64 clients, after them", &get(&server, CLIENTS_MAX, existing)?, "as before them"));
    Ok(rows)
}

fn operations(server: &Server, clients: usize, created: &Arc<AtomicUsize>, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let is_most = clients == CLIENTS_MAX;
    let budget = |text| if is_most { text } else { "" };
    let name = |operation: &str| format!("{operation}, {clients} client{}", if clients == 1 { "" } else { "s" });
    rows.push(row(name("create"), &create(server, clients, created)?, budget("3,000/s, p99 50 ms")));
    let existing = created.load(Ordering::Relaxed);
    rows.push(row(name("get"), &get(server, clients, existing)?, budget("20,000/s, p99 50 ms")));
    rows.push(row(name("patch"), &server.load_for(clients, ROUND, move |n| annotate(n, existing))?, ""));
    let status = server.load_for(clients, ROUND, move |n| {
        Call::merge(
            format!("{PODS}/{}/status", pod_name(n % existing)),
            json!({"status": {"message": n.to_string()}}).to_string(),
        )
    });
    rows.push(row(name("status patch"), &status?, ""));
    Ok(())
}

fn create(server: &Server, clients: usize, created: &Arc<AtomicUsize>) -> anyhow::Result<Load> {
    let counted = Arc::clone(created);
    server.load_for(clients, ROUND, move |_| pod(counted.fetch_add(1, Ordering::Relaxed)))
}

fn get(server: &Server, clients: usize, existing: usize) -> anyhow::Result<Load> {
    server.load_for(clients, ROUND, move |n| Call::get(format!("{PODS}/{}", pod_name(n % existing))))
}

fn lists(server: &Server, created: &Arc<AtomicUsize>, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let counted = Arc::clone(created);
    let missing = LISTED.saturating_sub(created.load(Ordering::Relaxed));
    server.load_all(missing, move |_| pod(counted.fetch_add(1, Ordering::Relaxed)))?;
    let (whole, size) = list(server, "")?;
    let (page, _) = list(server, "?limit=500")?;
    let count = created.load(Ordering::Relaxed);
    let whole_at_listed = whole.mul_f64(LISTED as f64 / count as f64);
    let measured =
        format!("{} for {count} pods, {:.1} MiB; {} for 10,000", millis(whole), size, millis(whole_at_listed));
    rows.push(Row::new("list", measured, "60 ms for 10,000"));
    let share = page.as_secs_f64() / whole.as_secs_f64();
    let measured = format!("{}, {share:.3} of the whole list's time", millis(page));
    rows.push(Row::new("list, a page of 500", measured, "a page's share"));
    Ok(())
}

fn list(server: &Server, query: &str) -> anyhow::Result<(Duration, f64)> {
    let mut times = Vec::new();
    let mut size = 0;
    for _ in 0..LISTS {
        let (body, time) = server.ask(Call::get(format!("{PODS}{query}")))?;
        times.push(time.as_secs_f64());
        size = body.len();
    }
    Ok((Duration::from_secs_f64(median(times.into_iter())), size as f64 / (1024.0 * 1024.0)))
}

fn watches(server: &Server) -> anyhow::Result<Row> {
    let (list, _) = server.ask(Call::get(format!("{CONFIG_MAPS}?limit=1")))?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    let version = list.pointer("/metadata/resourceVersion").and_then(|v| v.as_str()).unwrap_or_default();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    let (written, seen) = server.watch(&path, WATCHERS, EVENTS, |server| {
        let write = |n: usize| {
            server.ask(Call::post(CONFIG_MAPS, json!({"metadata": {"name": format!("c{n}")}}).to_string()))?;
            Ok(Instant::now())
        };
        (0..EVENTS).map(write).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let last = |event: usize| seen.iter().filter_map(|times| times.get(event)).max().copied();
    let delays = written.iter().enumerate().filter_map(|(event, at)| Some(last(event)?.saturating_duration_since(*at)));
    let delays = Samples::new(delays.collect());
    let measured = format!("{}, most {} after the write's answer", delays.p50_p99(), millis(delays.percentile(1.0)));
    Ok(Row::new("100 watchers of 1,000 events: the last has it", measured, "100 ms"))
}

/// A pod that no scheduler of this cluster places.
fn pod(number: usize) -> Call {
    let pod = json!({
        "metadata": {"name": pod_name(number), "labels": {"app": "bench", "number": (number % 100).to_string()}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "hello", "image": "hello-http:v1", "ports": [{"containerPort": 8080}],
                            "resources": {"limits": {"cpu": "100m", "memory": "16Mi"}}}],
        },
    });
    Call::post(PODS, pod.to_string())
}

fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}

fn annotate(number: usize, existing: usize) -> Call {
    let patch = json!({"metadata": {"annotations": {"number": number.to_string()}}});
    Call::merge(format!("{PODS}/{}", pod_name(number % existing)), patch.to_string())
}

fn row(what: impl Into<String>, load: &Load, budget: &'static str) -> Row {
    Row::new(what, format!("{:.0}/s, {}", load.per_second, load.latency.p50_p99()), budget)
}
