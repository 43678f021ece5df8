//! A stream from pod to pod in one process, and between two nodes, beside the same two guests over the kernel's loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;
use wherry_tests::{Cluster, Machine, until};

use crate::figures::Row;
use crate::peers::{GuestFile, Killed, wasmtime};
use crate::process;

const GUEST: &str = "stream-meter";
const SERVER: &str = include_str!("streams.server.yaml");
const METER: &str = include_str!("streams.meter.yaml");

/// What the guest prints.
#[derive(Deserialize)]
pub struct Figures {
    round_trip_ns: f64,
    bytes_per_second: f64,
}

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (pods, kernel) = (between_pods(&process::SHARED, "default")?, over_loopback()?);
    Ok(rows("same node", &pods, &kernel, "4 × loopback", "0.25 × loopback").into())
}

/// Between pods of two nodes of this machine: encrypted, beside loopback that is not.
pub fn between_nodes() -> anyhow::Result<Vec<Row>> {
    let kernel = over_loopback()?;
    let mut cluster = Cluster::start_with(process::wherry()?, &process::SHARED)?;
    let token = String::from_utf8(cluster.wherry(&["token", "create"])?.stdout)?;
    let _second = Machine::join(&cluster, "n2", "127.0.0.2", token.trim(), &process::SHARED)?;
    let on = |manifest: &str, node: &str| {
        manifest.replace("spec:\n", &format!("spec:\n  nodeSelector: {{kubernetes.io/hostname: {node}}}\n"))
    };
    let pods = exchange(&cluster, "default", [&on(SERVER, "n2"), &on(METER, "wherry")])?;
    cluster.terminate()?;
    Ok(rows("two nodes", &pods, &kernel, "", "").into())
}

/// What was measured between pods beside loopback.
pub fn rows(
    name: &str,
    pods: &Figures,
    kernel: &Figures,
    rate_budget: &'static str,
    round_trip_budget: &'static str,
) -> [Row; 2] {
    let rate = format!("{:.1} GB/s beside {:.1}", pods.bytes_per_second / 1e9, kernel.bytes_per_second / 1e9);
    let round_trip = format!("{:.1} µs beside {:.1}", pods.round_trip_ns / 1e3, kernel.round_trip_ns / 1e3);
    [
        Row::new(format!("pod to pod, {name}: throughput"), rate, rate_budget).ratio(
            pods.bytes_per_second,
            kernel.bytes_per_second,
            "loopback",
        ),
        Row::new(format!("pod to pod, {name}: round trip"), round_trip, round_trip_budget).ratio(
            pods.round_trip_ns,
            kernel.round_trip_ns,
            "loopback",
        ),
    ]
}

/// From a pod of `default` to one of `namespace`, in a cluster with these arguments.
pub fn between_pods(arguments: &[&str], namespace: &str) -> anyhow::Result<Figures> {
    let mut cluster = Cluster::start_with(process::wherry()?, arguments)?;
    let measured = exchange(&cluster, namespace, [SERVER, METER])?;
    cluster.terminate()?;
    Ok(measured)
}

/// Has a pod of `default` measure the way to one of `namespace`.
fn exchange(cluster: &Cluster, namespace: &str, [server, meter]: [&str; 2]) -> anyhow::Result<Figures> {
    cluster.load_guest(GUEST)?;
    cluster.apply(namespace, server)?;
    cluster.apply("default", &meter.replace("SERVER", &format!("server.{namespace}:7000")))?;
    until("the meter has measured", || {
        let output = cluster.wherry(&["logs", "meter"])?;
        Ok(figures(&String::from_utf8_lossy(&output.stdout)))
    })
}

/// The same guests over the kernel's loopback.
pub fn over_loopback() -> anyhow::Result<Figures> {
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
