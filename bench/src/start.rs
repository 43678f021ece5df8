//! From the command to readiness, and what an idle master and node cost.

use std::time::Duration;

use tokio::time::Instant;
use wherry_tests::Cluster;

use crate::figures::{Row, Samples};
use crate::process;

const ROUNDS: usize = 5;
const SETTLING: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut cluster = Cluster::start(process::wherry()?)?;
        cold.push(began.elapsed());
        cluster.terminate()?;
        let began = Instant::now();
        cluster.restart()?;
        warm.push(began.elapsed());
    }
    let cluster = Cluster::start(process::wherry()?)?;
    let idle = process::idle_cpu(cluster.pid(), SETTLING, IDLE)?;
    Ok(vec![
        Row::new("`wherry up` to ready, new directory", Samples::new(cold).p50_p99(), "500 ms"),
        Row::new("the same, with data", Samples::new(warm).p50_p99(), "200 ms"),
        Row::new(
            "idle resident memory, no pods",
            format!("{:.0} MiB", process::resident_mib(cluster.pid())?),
            "50 MiB",
        ),
        Row::new("idle CPU, no pods", format!("{:.2} % of a core", idle * 100.0), "0.5 %"),
    ])
}
