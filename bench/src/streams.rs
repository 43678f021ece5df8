//! A stream from pod to pod on one node, beside the same two guests over the kernel's loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;
use wherry_tests::{Cluster, until};

use crate::figures::Row;
use crate::peers::{GuestFile, Killed, wasmtime};
use crate::process;

const GUEST: &str = "stream-meter";
const MANIFEST: &str = include_str!("streams.yaml");

/// What the guest prints.
#[derive(Deserialize)]
struct Figures {
    round_trip_ns: f64,
    bytes_per_second: f64,
}

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (pods, kernel) = (between_pods()?, over_loopback()?);
    let rate = format!("{:.1} GB/s beside {:.1}", pods.bytes_per_second / 1e9, kernel.bytes_per_second / 1e9);
    let round_trip = format!("{:.1} µs beside {:.1}", pods.round_trip_ns / 1e3, kernel.round_trip_ns / 1e3);
    Ok(vec![
        Row::new("pod to pod, same node: throughput", rate, "4 × loopback").ratio(
            pods.bytes_per_second,
            kernel.bytes_per_second,
            "loopback",
        ),
        Row::new("pod to pod, same node: round trip", round_trip, "0.25 × loopback").ratio(
            pods.round_trip_ns,
            kernel.round_trip_ns,
            "loopback",
        ),
    ])
}

fn between_pods() -> anyhow::Result<Figures> {
    let cluster = Cluster::start(process::wherry()?)?;
    cluster.load_guest(GUEST)?;
    process::apply(&cluster, MANIFEST)?;
    until("the meter has measured", || {
        let output = cluster.wherry(&["logs", "meter"])?;
        Ok(figures(&String::from_utf8_lossy(&output.stdout)))
    })
}

fn over_loopback() -> anyhow::Result<Figures> {
    let guest = GuestFile::write(GUEST)?;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string();
    let run = |role: &str| -> anyhow::Result<Command> {
        let mut command = Command::new(wasmtime()?);
        command.args(["run", "-S", "inherit-network"]).arg(guest.path()).args([role, &address]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    };
    let _server = Killed(run("serve")?.stdout(Stdio::null()).spawn()?);
    until("the meter has measured loopback", || {
        let output = run("measure")?.output()?;
        Ok(figures(&String::from_utf8_lossy(&output.stdout)))
    })
    .and_then(|figures| {
        ensure!(figures.bytes_per_second > 0.0, "no bytes");
        Ok(figures)
    })
    .context("wasmtime run")
}

fn figures(printed: &str) -> Option<Figures> {
    printed.lines().find_map(|line| serde_json::from_str(line).ok())
}
