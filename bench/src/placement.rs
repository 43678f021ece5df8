//! Placement: the algorithm by itself, and pods created to bound through the API on nodes that only report status.

use serde_json::json;
use tokio::time::Instant;
use wherry_api::ObjectKey;
use wherry_placement::{Node, Pod, Resources, Snapshot, place};
use wherry_tests::Cluster;

use crate::figures::Row;
use crate::process;
use crate::server::{Call, Server};

const NODES: usize = 5_000;
const PODS: usize = 30_000;
const BOUND: usize = 10_000;
const FEW_NODES: usize = 10;
const REPLICAS: usize = 1_000;
const CLIENTS: usize = 64;

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        pure(),
        through_the_api("Deployment of 1,000 replicas on 10 nodes, created to all bound", FEW_NODES, REPLICAS, "1 s")?,
        through_the_api("Deployment of 10,000 replicas on 5,000 nodes, the same", NODES, BOUND, "5,000 pods/s")?,
    ])
}

fn pure() -> Row {
    let mut snapshot = Snapshot::default();
    let allocatable = Resources { cpu_milli: 32_000, memory_bytes: 128 << 30, pods: 110 };
    for node in 0..NODES {
        snapshot.set_node(Node { name: format!("node-{node}").into(), allocatable, ..Node::default() });
    }
    let requests = Resources { cpu_milli: 100, memory_bytes: 64 << 20, pods: 1 };
    let pods: Vec<Pod> = (0..PODS)
        .map(|pod| Pod {
            key: ObjectKey::new("default", &format!("pod-{pod}")),
            requests,
            owner: Some(format!("owner-{}", pod % 300).into()),
            ..Pod::default()
        })
        .collect();
    let began = Instant::now();
    let placed = place(&snapshot, &pods).bindings.len();
    let per_second = placed as f64 / began.elapsed().as_secs_f64();
    Row::new(
        "placement of 30,000 pods on 5,000 nodes",
        format!("{placed} placed, {per_second:.0} pods/s"),
        "50,000 pods/s",
    )
}

fn through_the_api(what: &str, nodes: usize, replicas: usize, budget: &'static str) -> anyhow::Result<Row> {
    let cluster = Cluster::start(process::wherry()?)?;
    let server = Server::of(&cluster, CLIENTS)?;
    cordon_own_node(&server)?;
    server.load_all(nodes, node)?;
    let bound = "/api/v1/namespaces/default/pods?watch=1&fieldSelector=spec.nodeName!%3D";
    let (began, seen) = server.watch(bound, 1, replicas, |server| {
        let began = Instant::now();
        server.ask(Call::post("/apis/apps/v1/namespaces/default/deployments", deployment(replicas)))?;
        Ok(began)
    })?;
    let last = seen.iter().flatten().max().copied().unwrap_or(began);
    let seconds = last.duration_since(began).as_secs_f64();
    Ok(Row::new(what, format!("{seconds:.2} s, {:.0} pods/s", replicas as f64 / seconds), budget))
}

fn cordon_own_node(server: &Server) -> anyhow::Result<()> {
    let (nodes, _) = server.ask(Call::get("/api/v1/nodes".to_owned()))?;
    let nodes: serde_json::Value = serde_json::from_slice(&nodes)?;
    let name = nodes.pointer("/items/0/metadata/name").and_then(|name| name.as_str()).unwrap_or_default();
    let cordon = json!({"spec": {"unschedulable": true}}).to_string();
    server.ask(Call::merge(format!("/api/v1/nodes/{name}"), cordon))?;
    Ok(())
}

/// A node that reports its status once; it counts as ready for as long as a node without a lease does.
fn node(number: usize) -> Call {
    let resources = json!({"cpu": "32", "memory": "128Gi", "pods": "2000"});
    let node = json!({
        "metadata": {"name": format!("fake-{number}"), "labels": {"kubernetes.io/hostname": format!("fake-{number}")}},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bench", "message": "reports status only"}],
        },
    });
    Call::post("/api/v1/nodes", node.to_string())
}

fn deployment(replicas: usize) -> String {
    json!({
        "metadata": {"name": "many"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {"labels": {"app": "many"}},
                "spec": {"containers": [{"name": "c", "image": "none:v1", "resources": {"requests": {"cpu": "10m"}}}]},
            },
        },
    })
    .to_string()
}
