//! `/stats/summary`: what the node and each container have used, as far as `kubectl top` asks.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use wherry_runtime::Usage;

use crate::agent::AgentHandle;
use crate::worker::Worker;

pub async fn summary(State(agent): State<AgentHandle>) -> Json<Value> {
    let now = agent.context.clock.now().to_string();
    let mut whole = Usage::default();
    let pods: Vec<Value> = agent.context.all().iter().map(|worker| pod(worker, &now, &mut whole)).collect();
    let node = json!({
        "nodeName": agent.context.config.node_name,
        "cpu": cpu(&now, whole),
        "memory": memory(&now, whole),
    });
    Json(json!({ "node": node, "pods": pods }))
}

fn pod(worker: &Worker, now: &str, whole: &mut Usage) -> Value {
    let mut sum = Usage::default();
    let containers: Vec<Value> = worker
        .usage()
        .into_iter()
        .map(|(name, usage)| {
            add(&mut sum, usage);
            json!({ "name": name, "cpu": cpu(now, usage), "memory": memory(now, usage) })
        })
        .collect();
    add(whole, sum);
    let pod = &worker.pod;
    json!({
        "podRef": { "name": pod.name, "namespace": pod.namespace, "uid": pod.uid },
        "containers": containers,
        "cpu": cpu(now, sum),
        "memory": memory(now, sum),
    })
}

fn add(sum: &mut Usage, usage: Usage) {
    sum.cpu_nanos = sum.cpu_nanos.saturating_add(usage.cpu_nanos);
    sum.memory_bytes = sum.memory_bytes.saturating_add(usage.memory_bytes);
}

fn cpu(now: &str, usage: Usage) -> Value {
    json!({ "time": now, "usageCoreNanoSeconds": usage.cpu_nanos })
}

fn memory(now: &str, usage: Usage) -> Value {
    json!({ "time": now, "usageBytes": usage.memory_bytes, "workingSetBytes": usage.memory_bytes })
}
