//! A Linux container and a pod of modules, one the client of the other, beside two network namespaces on a bridge, and beside
//! two containers on Docker's own bridge, with its rules, where an engine can run.
//!
//! The container's end is a kernel socket in the namespace, the pod's end a stream of the pod network, as the runtime of
//! modules has it. Needs root and `ip` for the bridge.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use wherry_base::Trigger;
use wherry_podnet::Config;
use wherry_tests::{Engine, Place, until};
use wherry_vnet::{Egress, Namespace, Network, NetworkConfig, NoServices, PodIdentity};

use crate::exchange::{BYTES, CHUNK_BYTES, Figures, PORT, ROUND_TRIPS, ask, serve};
use crate::figures::Row;
use crate::image;

/// A network that ours is held against.
struct Peer {
    name: &'static str,
    /// None, where it cannot be had here.
    figures: Option<Figures>,
}

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let peers = [
        Peer { name: "a bridge", figures: Some(over_a_bridge().context("two namespaces on a bridge")?) },
        Peer { name: "Docker's bridge", figures: over_dockers_bridge().context("two containers on Docker's bridge")? },
    ];
    let (outward, inward) = runtime.block_on(over_podnet())?;
    let all = [("container to pod", outward), ("pod to container", inward)];
    Ok(all.into_iter().flat_map(|(what, figures)| rows(what, &figures, &peers)).collect())
}

fn rows(what: &str, own: &Figures, peers: &[Peer]) -> [Row; 2] {
    let gigabytes = |figures: &Figures| figures.rate / 1e9;
    let micros = |figures: &Figures| figures.round_trip.as_secs_f64() * 1e6;
    [
        row(format!("podnet, {what}: throughput"), "GB/s", own, peers, gigabytes),
        row(format!("podnet, {what}: round trip"), "µs", own, peers, micros),
    ]
}

fn row(what: String, unit: &str, own: &Figures, peers: &[Peer], read: impl Fn(&Figures) -> f64) -> Row {
    let beside = peers.iter().map(|peer| match &peer.figures {
        Some(figures) => format!("{} {:.2}", peer.name, read(figures)),
        None => format!("{}: no engine here", peer.name),
    });
    let measured = format!("{:.2} {unit} ({})", read(own), beside.collect::<Vec<_>>().join(", "));
    let there = peers.iter().filter_map(|peer| Some((peer.name, peer.figures.as_ref()?)));
    there.fold(Row::new(what, measured, ""), |row, (name, figures)| row.ratio(read(own), read(figures), name))
}

/// Two containers as `docker run` makes them.
fn over_dockers_bridge() -> anyhow::Result<Option<Figures>> {
    let Some(engine) = Engine::start_bridged("a container on Docker's own bridge") else { return Ok(None) };
    image::import(&engine)?;
    engine.docker(&["run", "--detach", "--name", "server", image::NAME, "serve"])?;
    let address = engine.docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "server"])?;
    let ask = || engine.docker(&["run", "--rm", image::NAME, "ask", &address]);
    // The first may come before the server listens.
    let told = until("the server on Docker's bridge answers", || Ok(ask().ok()))?;
    let (rate, seconds) = told.split_once(' ').context("no figures")?;
    Ok(Some(Figures { rate: rate.parse()?, round_trip: Duration::from_secs_f64(seconds.parse()?) }))
}

fn over_a_bridge() -> anyhow::Result<Figures> {
    let (host, a, b) = (Place::new()?, Place::new()?, Place::new()?);
    host.ip("link add name bridge type bridge")?;
    host.ip("link set bridge up")?;
    for (place, link, address) in [(&a, "left", "172.30.0.2/24"), (&b, "right", "172.30.0.3/24")] {
        host.ip(&format!("link add name {link} type veth peer name eth0 netns {}", place.path()))?;
        host.ip(&format!("link set {link} master bridge up"))?;
        place.ip(&format!("addr add {address} dev eth0"))?;
        place.ip("link set eth0 up")?;
    }
    let to = SocketAddr::from(([172, 30, 0, 2], PORT));
    let listener = a.within(|| TcpListener::bind(to))?;
    let server = std::thread::spawn(move || -> anyhow::Result<()> { serve(listener.accept()?.0) });
    let figures = ask(b.within(|| TcpStream::connect(to))?)?;
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    Ok(figures)
}

async fn over_podnet() -> anyhow::Result<(Figures, Figures)> {
    let (place, trigger) = (Arc::new(Place::new()?), Trigger::new());
    let config = NetworkConfig {
        pod_cidr: "10.128.0.0/24".parse()?,
        cluster_cidr: "10.128.0.0/10".parse()?,
        service_cidr: "10.96.0.0/12".parse()?,
        node_ip: "192.168.1.1".parse()?,
    };
    let network = Network::new(config, Arc::new(NoServices));
    let pod = |name: &str| {
        let identity = PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into() };
        network.namespace(identity, Egress::Denied)
    };
    let (mixed, plain) = (pod("mixed")?, pod("plain")?);
    let config = Config { dns: "10.96.0.10".parse()?, on_close: Box::new(|| {}) };
    let _net = wherry_podnet::open(place.handle()?, &mixed, config, &trigger.drain())?;
    let figures = (outward(Arc::clone(&place), &plain).await?, inward(&place, &mixed, &plain).await?);
    mixed.close();
    ensure!(trigger.stop(Duration::from_secs(5)).await, "the pod's network does not end");
    Ok(figures)
}

/// The container asks the pod.
async fn outward(place: Arc<Place>, plain: &Arc<Namespace>) -> anyhow::Result<Figures> {
    let to = SocketAddr::new(plain.address(), PORT);
    let mut listener = plain.listen(to)?;
    let client = tokio::task::spawn_blocking(move || place.within(|| ask(TcpStream::connect(to)?)));
    serve_pod(listener.accept().await.context("no connection")?).await?;
    client.await?
}

/// The pod asks the container.
async fn inward(place: &Place, mixed: &Arc<Namespace>, plain: &Arc<Namespace>) -> anyhow::Result<Figures> {
    let to = SocketAddr::new(mixed.address(), PORT);
    let listener = place.within(|| TcpListener::bind(to))?;
    let server = tokio::task::spawn_blocking(move || serve(listener.accept()?.0));
    let figures = ask_from_pod(plain.connect(to).await?).await?;
    server.await??;
    Ok(figures)
}

async fn ask_from_pod(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<Figures> {
    let (chunk, mut byte) = (vec![7; CHUNK_BYTES], [7]);
    let began = Instant::now();
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&byte).await?;
        stream.read_exact(&mut byte).await?;
    }
    let round_trip = began.elapsed() / ROUND_TRIPS;
    let began = Instant::now();
    for _ in 0..BYTES / CHUNK_BYTES as u64 {
        stream.write_all(&chunk).await?;
    }
    stream.read_exact(&mut byte).await?;
    Ok(Figures { rate: BYTES as f64 / began.elapsed().as_secs_f64(), round_trip })
}

async fn serve_pod(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    let (mut chunk, mut byte) = (vec![0; CHUNK_BYTES], [0]);
    for _ in 0..ROUND_TRIPS {
        stream.read_exact(&mut byte).await?;
        stream.write_all(&byte).await?;
    }
    let mut left = BYTES;
    while left > 0 {
        let length = stream.read(&mut chunk).await? as u64;
        ensure!(length > 0, "the client ended early");
        left -= length;
    }
    Ok(stream.write_all(&byte).await?)
}
