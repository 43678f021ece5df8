//! `/stats/summary`: what the node and each container use, as far as `kubectl top` asks: how much of the CPU at present, and
//! how much memory.
//!
//! How much of the CPU is used takes two looks. The earlier one is that of the request before; who asks first waits for the
//! second. Nothing is measured while nobody asks.

mod rates;

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::Instant;
use wherry_runtime::Usage;

use crate::agent::AgentHandle;
use crate::node::kibibytes;
use crate::worker::Worker;
use rates::{Rates, Subject};

/// How far the looks of a first request are apart: more than a sandbox takes to tell of what has changed.
const FIRST_SPAN: Duration = Duration::from_millis(1500);
/// How many looks it takes at the most: on a busy machine, a sandbox may tell late.
const LOOKS_MAX: u32 = 4;
/// The kernel counts CPU time for programs in hundredths of a second (USER_HZ).
const TICK_NANOS: u64 = 10_000_000;

#[derive(Clone)]
struct Stats {
    agent: AgentHandle,
    rates: Arc<Mutex<Rates>>,
}

/// The path.
pub fn router(agent: AgentHandle) -> Router {
    Router::new().route("/stats/summary", get(summary)).with_state(Stats { agent, rates: Arc::default() })
}

async fn summary(State(stats): State<Stats>) -> Json<Value> {
    let (mut summary, mut is_complete) = stats.look();
    for _ in 1..LOOKS_MAX {
        if is_complete {
            break;
        }
        tokio::time::sleep(FIRST_SPAN).await;
        (summary, is_complete) = stats.look();
    }
    Json(summary)
}

impl Stats {
    /// What is used at present, and whether that is known of all that runs.
    fn look(&self) -> (Value, bool) {
        let context = &self.agent.context;
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut look = Look { now: context.clock.now().to_string(), rates: &mut rates, is_complete: true };
        let (cpu_nanos, memory_bytes) = machine();
        let usage = Usage { cpu_nanos, memory_bytes };
        let node = look.used(Subject::default(), usage, Instant::now());
        let pods: Vec<Value> = context.all().iter().map(|worker| look.pod(worker)).collect();
        let Look { now, is_complete, .. } = look;
        rates.forget_others();
        let node = json!({
            "nodeName": context.config.node_name,
            "cpu": cpu(&now, node),
            "memory": memory(&now, usage),
        });
        (json!({ "node": node, "pods": pods }), is_complete)
    }
}

struct Look<'a> {
    now: String,
    rates: &'a mut Rates,
    is_complete: bool,
}

/// What was used of the CPU since the start, and is used at present where that is known.
type Used = (u64, Option<u64>);

impl Look<'_> {
    fn pod(&mut self, worker: &Worker) -> Value {
        let (mut sum, mut whole): (Used, Usage) = ((0, Some(0)), Usage::default());
        let mut containers = Vec::new();
        for (name, usage, at) in worker.usage() {
            let used = self.used((worker.pod.uid.clone(), name.clone()), usage, at);
            sum = (sum.0.saturating_add(used.0), sum.1.zip(used.1).map(|(sum, used)| sum.saturating_add(used)));
            whole.memory_bytes = whole.memory_bytes.saturating_add(usage.memory_bytes);
            containers.push(json!({ "name": name, "cpu": cpu(&self.now, used), "memory": memory(&self.now, usage) }));
        }
        let pod = &worker.pod;
        json!({
            "podRef": { "name": pod.name, "namespace": pod.namespace, "uid": pod.uid },
            "containers": containers,
            "cpu": cpu(&self.now, sum),
            "memory": memory(&self.now, whole),
        })
    }

    fn used(&mut self, subject: Subject, usage: Usage, at: Instant) -> Used {
        let rate = self.rates.hear(subject, usage.cpu_nanos, at, Instant::now());
        self.is_complete &= rate.is_some();
        (usage.cpu_nanos, rate)
    }
}

fn cpu(now: &str, (total, rate): Used) -> Value {
    let mut cpu = json!({ "time": now, "usageCoreNanoSeconds": total });
    if let (Some(rate), Some(map)) = (rate, cpu.as_object_mut()) {
        map.insert("usageNanoCores".into(), rate.into());
    }
    cpu
}

fn memory(now: &str, usage: Usage) -> Value {
    json!({ "time": now, "usageBytes": usage.memory_bytes, "workingSetBytes": usage.memory_bytes })
}

/// What the whole machine has used of its CPUs since it was started, in nanoseconds, and uses of its memory, in bytes.
fn machine() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    (busy_ticks(&stat).saturating_mul(TICK_NANOS), used_kibibytes(&meminfo).saturating_mul(1024))
}

/// user, nice, system, irq, softirq and steal of `/proc/stat`; idle and iowait are no use, and guests are counted as user.
fn busy_ticks(stat: &str) -> u64 {
    let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks = words.enumerate().filter(|(index, _)| matches!(index, 0..=2 | 5..=7));
    ticks.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

fn used_kibibytes(meminfo: &str) -> u64 {
    let field = |name| kibibytes(meminfo, name);
    field("MemTotal:").zip(field("MemAvailable:")).map_or(0, |(total, available)| total.saturating_sub(available))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_uses() {
        assert_eq!(busy_ticks("cpu  10 20 30 4000 500 6 7 8 9 10\ncpu0 1 1 1 1\n"), 10 + 20 + 30 + 6 + 7 + 8);
        assert_eq!(used_kibibytes("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   300 kB\n"), 700);
        assert_eq!((busy_ticks(""), used_kibibytes("")), (0, 0));
    }
}
