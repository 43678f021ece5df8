//! Requests per second through the ingress, beside a native server and `wasmtime serve` of the same component.
//!
//! All are asked by the same generator on the same cores, in turn, over several rounds; the median of the rounds counts.

use std::net::SocketAddr;
use std::time::Duration;

use wherry_tests::{Cluster, until};

use crate::figures::{Row, median, millis};
use crate::load::{self, Load};
use crate::peers::{Native, WasmtimeServe};
use crate::process;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 64;
const MANY_CONNECTIONS: usize = 512;
const MANIFEST: &str = include_str!("ingress.yaml");

/// One server that is asked.
struct Asked {
    name: &'static str,
    address: SocketAddr,
    host: &'static str,
    connections: usize,
    budget: &'static str,
    rounds: Vec<Load>,
}

/// Measures; the first figure of the table is the native server that the others are held against.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (_cluster, ingress) = serving(&[])?;
    let (native, wasmtime) = (Native::start()?, WasmtimeServe::start("hello-http")?);
    let asked = |name, address, host, connections, budget| Asked {
        name,
        address,
        host,
        connections,
        budget,
        rounds: Vec::new(),
    };
    let mut all = [
        asked("native hyper server", native.address, "localhost", CONNECTIONS, ""),
        asked("tuned `wasmtime serve`, WASI 0.2", wasmtime.address, "localhost", CONNECTIONS, ""),
        asked("ingress → module, WASI 0.2", ingress, "hello.localhost", CONNECTIONS, "0.40 × native, p99 3 ms"),
        asked("ingress → module, WASI 0.3", ingress, "hello3.localhost", CONNECTIONS, "0.40 × native, p99 3 ms"),
        asked("the same, 512 connections", ingress, "hello.localhost", MANY_CONNECTIONS, "no fewer requests"),
    ];
    for _ in 0..ROUNDS {
        for one in &mut all {
            one.rounds.push(load::run(one.address, one.host, one.connections, ROUND)?);
        }
    }
    let [native, wasmtime] = [0, 1].map(|index| all.get(index).map_or(0.0, Asked::per_second));
    Ok(all.iter().map(|one| one.row(native, wasmtime)).collect())
}

/// A cluster whose ingress answers for `hello.localhost` and `hello3.localhost`, and its address.
pub fn serving(arguments: &[&str]) -> anyhow::Result<(Cluster, SocketAddr)> {
    let cluster = Cluster::start_with(process::wherry()?, arguments)?;
    cluster.load_guest("hello-http")?;
    cluster.load_guest("hello3")?;
    process::apply(&cluster, MANIFEST)?;
    let ingress = SocketAddr::from(([127, 0, 0, 1], cluster.ports()?.http));
    for host in ["hello.localhost", "hello3.localhost"] {
        // A run may end before its first request.
        let once = || load::run(ingress, host, 1, Duration::from_millis(1)).ok();
        until(host, || Ok(once().filter(|load| load.latency.count() > 0)))?;
    }
    Ok((cluster, ingress))
}

impl Asked {
    fn per_second(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.per_second))
    }

    fn row(&self, native: f64, wasmtime: f64) -> Row {
        let p99 = median(self.rounds.iter().map(|round| round.latency.percentile(0.99).as_secs_f64()));
        let measured = format!("{:.0} requests/s, p99 {}", self.per_second(), millis(Duration::from_secs_f64(p99)));
        Row::new(self.name, measured, self.budget).ratio(self.per_second(), native, "native").ratio(
            self.per_second(),
            wasmtime,
            "wasmtime serve",
        )
    }
}
