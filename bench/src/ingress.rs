//! Requests per second through the ingress into modules of the node's process, beside a native server and `wasmtime serve`
//! of the same component.
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
    /// Those of the list that it is held against, and what they are called beside its figure.
    peers: &'static [(usize, &'static str)],
    budget: &'static str,
    rounds: Vec<Load>,
}

const NATIVE: (usize, &str) = (0, "native");
const BOTH: [(usize, &str); 2] = [NATIVE, (1, "wasmtime serve")];

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (_cluster, ingress) = serving(&process::SHARED)?;
    let (native, wasmtime) = (Native::start()?, WasmtimeServe::start("hello-http")?);
    let asked = |name, address, host, peers, budget| Asked {
        name,
        address,
        host,
        connections: CONNECTIONS,
        peers,
        budget,
        rounds: Vec::new(),
    };
    let many = |one: Asked| Asked { connections: MANY_CONNECTIONS, ..one };
    let (hello, hello3, goal) = ("hello.localhost", "hello3.localhost", "0.40 × native, p99 3 ms");
    let mut all = [
        asked("native hyper server", native.address, "localhost", &[], ""),
        asked("tuned `wasmtime serve`, WASI 0.2", wasmtime.address, "localhost", &[NATIVE], ""),
        asked("ingress → module, WASI 0.2", ingress, hello, &BOTH, goal),
        asked("ingress → module, WASI 0.3", ingress, hello3, &BOTH, goal),
        many(asked("native, 512 connections", native.address, "localhost", &[(0, "its 64")], "")),
        many(asked("WASI 0.2, 512 connections", ingress, hello, &[(2, "its 64"), (4, "native")], "no fewer than 64")),
    ];
    for _ in 0..ROUNDS {
        for one in &mut all {
            one.rounds.push(load::run(one.address, one.host, one.connections, ROUND)?);
        }
    }
    Ok(all.iter().map(|one| one.row(&all)).collect())
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

    fn row(&self, all: &[Self]) -> Row {
        let p99 = median(self.rounds.iter().map(|round| round.latency.percentile(0.99).as_secs_f64()));
        let measured = format!("{:.0} requests/s, p99 {}", self.per_second(), millis(Duration::from_secs_f64(p99)));
        let row = Row::new(self.name, measured, self.budget);
        self.peers.iter().fold(row, |row, (peer, name)| match all.get(*peer) {
            Some(peer) => row.ratio(self.per_second(), peer.per_second(), name),
            None => row,
        })
    }
}
