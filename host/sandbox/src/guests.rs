//! A sandbox's life: it waits for the node, does what the node says, and goes on while there is none.
//!
//! Holds containers, their pods' networks and their logs, and how containers have ended until a node says that it need not.
//! When the node's connection ends the containers go on, and what they ask of the node waits for the next one, which is
//! told what there is. A sandbox that no node comes for in time ends, and one without containers ends with its connection.

mod input;
mod log;
mod node;
mod requests;
mod start;
mod uplink;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use wherry_base::{Clock, Drain};
use wherry_runtime::{Container, GivenCode, TerminalSize};
use wherry_vnet::{Namespace, Network, NetworkConfig};

use crate::message::{Port, Ranges, SURVIVORS_A_MESSAGE, SurvivingContainer, ToNode, ToSandbox, VERSION};
use crate::wire::Wire;
use log::{FileLog, Flusher};
use node::Node;
use uplink::Up;

/// How long a sandbox waits for a node to adopt it, outside of tests.
pub const ADOPTION_GRACE: Duration = Duration::from_secs(60);

/// How often the node is told what containers have used.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);

/// What a sandbox is made of.
pub struct GuestsConfig {
    /// Listens for the node: a `SOCK_SEQPACKET` socket.
    pub listener: OwnedFd,
    /// Runs the guests.
    pub runtime: Arc<dyn GivenCode>,
    /// The threads that guests run on, and what carries their connections: not that of the node's connection, which no
    /// guest may stall.
    pub guests: Handle,
    /// Stamps lines of logs.
    pub clock: Arc<dyn Clock>,
    /// What keeps guests in that this kernel lacks, a sentence each, for the node to announce.
    pub lacking: Vec<String>,
    /// How long to wait for a node before this sandbox ends.
    pub adoption_grace: Duration,
}

/// Why a sandbox cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum GuestsError {
    /// The socket.
    #[error("the sandbox's socket fails: {0}")]
    Socket(#[from] io::Error),
    /// A node of another release.
    #[error("the node speaks version {0} of the sandbox's protocol, this is version {VERSION}")]
    Version(u32),
}

/// A container, known until a node has heard of its end.
struct Entry {
    /// What the next node is told.
    facts: SurvivingContainer,
    /// `None`: it has ended.
    running: Option<Running>,
}

/// What runs, and what it needs as long as it does.
struct Running {
    container: Arc<dyn Container>,
    log: Arc<FileLog>,
    /// Guests see directories through these: an instance of an HTTP module opens them anew.
    _mounts: Vec<OwnedFd>,
}

/// All that a sandbox has.
struct Guests {
    runtime: Arc<dyn GivenCode>,
    threads: Handle,
    clock: Arc<dyn Clock>,
    lacking: Vec<String>,
    node: Arc<Node>,
    /// Made when the node first says which addresses there are.
    network: Mutex<Option<Arc<Network>>>,
    containers: Mutex<BTreeMap<String, Entry>>,
    /// The CPU time of each container that the node was told last.
    told_usage: Mutex<BTreeMap<String, u64>>,
    flusher: Flusher,
    drain: Drain,
}

/// Serves nodes, one after the other, until there is nothing left to do.
pub async fn serve(config: GuestsConfig, drain: Drain) -> Result<(), GuestsError> {
    let GuestsConfig { listener, runtime, guests: threads, clock, lacking, adoption_grace } = config;
    let listener = wherry_base::watched(listener, Interest::READABLE)?;
    let node = Node::new();
    let flusher = Flusher::start(Arc::clone(&node))?;
    let (network, containers, told_usage) = (Mutex::default(), Mutex::default(), Mutex::default());
    let guests = Guests { runtime, threads, clock, lacking, node, network, containers, told_usage, flusher, drain };
    let guests = Arc::new(guests);
    guests.drain.spawn(Arc::clone(&guests).tell_usage());
    while let Ok(wire) = tokio::time::timeout(adoption_grace, accept(&listener)).await {
        let served = guests.serve_node(Wire::new(wire?)?).await;
        guests.node.disconnect();
        if let Err(error) = served {
            tracing::warn!(%error, "the node's connection broke");
        }
        if locked(&guests.containers).is_empty() {
            return Ok(());
        }
    }
    tracing::warn!("no node has come for {adoption_grace:?}: the sandbox ends");
    Ok(())
}

async fn accept(listener: &AsyncFd<OwnedFd>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    listener.async_io(Interest::READABLE, |fd| Ok(rustix::net::accept_with(fd.as_fd(), flags)?)).await
}

impl Guests {
    async fn serve_node(self: &Arc<Self>, wire: Wire) -> Result<(), GuestsError> {
        let wire = Arc::new(wire);
        let mut buffer = Vec::new();
        let Some((ToSandbox::Hello { version, network }, _)) = wire.receive(&mut buffer).await? else { return Ok(()) };
        if version != VERSION {
            return Err(GuestsError::Version(version));
        }
        self.set_network(&network);
        self.introduce(&wire);
        while let Some((message, descriptors)) = wire.receive(&mut buffer).await? {
            self.obey(message, descriptors);
        }
        Ok(())
    }

    /// Tells a node what there is. Nothing starts or ends meanwhile, so that it hears of each event once.
    fn introduce(&self, wire: &Arc<Wire>) {
        let containers = locked(&self.containers);
        locked(&self.told_usage).clear();
        let survivors: Vec<_> = containers.values().map(|entry| entry.facts.clone()).collect();
        let survivors = survivors.chunks(SURVIVORS_A_MESSAGE).map(|some| ToNode::Survivors(some.to_vec()));
        let ready = ToNode::Ready { engine: self.runtime.engine(), lacking: self.lacking.clone() };
        let words = std::iter::once(ToNode::Hello { version: VERSION }).chain(survivors);
        self.node.connect(Arc::clone(wire), words.collect(), ready, &self.drain);
        drop(containers);
    }

    fn set_network(&self, ranges: &Ranges) {
        let mut network = locked(&self.network);
        if network.is_none() {
            let config = NetworkConfig {
                pod_cidr: ranges.pods,
                cluster_cidr: ranges.cluster,
                service_cidr: ranges.services,
                node_ip: ranges.node,
            };
            *network = Some(Network::in_sandbox(config, Arc::new(Up(Arc::clone(&self.node)))));
        }
    }

    fn obey(self: &Arc<Self>, message: ToSandbox, mut descriptors: Vec<OwnedFd>) {
        match message {
            ToSandbox::Hello { .. } => {}
            ToSandbox::Start(start) => {
                self.node.knows(start.pod.address);
                self.drain.spawn(Arc::clone(self).start(*start, descriptors));
            }
            ToSandbox::Stop { container } => self.with(&container, |running| running.container.stop()),
            ToSandbox::Kill { container } => self.with(&container, |running| running.container.kill()),
            ToSandbox::Input { container, once } => {
                if let Some(socket) = descriptors.pop() {
                    self.with(&container, |running| input::take(&running.container, socket, once, &self.drain));
                }
            }
            ToSandbox::Attach { container, stdin } => {
                if let Some(socket) = descriptors.pop() {
                    self.with(&container, |running| input::join(&running.container, socket, stdin, &self.drain));
                }
            }
            ToSandbox::Resize { container, width, height } => {
                self.with(&container, |running| running.container.resize(TerminalSize { width, height }));
            }
            ToSandbox::Accept { pod, from, to } => {
                if let (Some(pod), Some(socket)) = (self.pod_at(pod), descriptors.pop()) {
                    let _on_guests_threads = self.threads.enter();
                    // Refused where the listener has gone meanwhile: dropping the socket tells the client.
                    let _refused = pod.accept(from, to, socket);
                }
            }
            ToSandbox::Requests => {
                if let (Some(network), Some(socket)) = (locked(&self.network).clone(), descriptors.pop()) {
                    let _on_guests_threads = self.threads.enter();
                    requests::serve(network, socket, &self.drain);
                }
            }
            ToSandbox::Dialed { request, outcome } => self.node.dialed(request, outcome, descriptors.pop()),
            ToSandbox::Resolved { request, outcome } => self.node.resolved(request, outcome),
            ToSandbox::Taken(Port { pod, at, protocol }) => {
                if let Some(pod) = self.pod_at(pod) {
                    pod.lose(protocol.into(), at);
                }
            }
            ToSandbox::Mixed { pod } => self.node.mixed(pod),
            ToSandbox::Heard { request } => self.node.heard(request),
            ToSandbox::Datagram { pod, from, to, payload } => {
                if let Some(pod) = self.pod_at(pod) {
                    pod.receive(from, to, payload.into());
                }
            }
            ToSandbox::Log { container, bytes } => {
                if let Some(file) = descriptors.pop() {
                    self.with(&container, |running| running.log.go_on_in(file.into(), bytes));
                }
            }
            ToSandbox::Adopt { pod } => self.node.knows(pod),
            ToSandbox::Forget { container } => self.forget(&container),
        }
    }

    fn pod_at(&self, address: IpAddr) -> Option<Arc<Namespace>> {
        locked(&self.network).as_ref()?.pod_at(address)
    }

    fn with(&self, container: &str, act: impl FnOnce(&Running)) {
        if let Some(running) = locked(&self.containers).get(container).and_then(|entry| entry.running.as_ref()) {
            act(running);
        }
    }

    fn forget(&self, container: &str) {
        let mut containers = locked(&self.containers);
        if containers.get(container).is_some_and(|entry| entry.running.is_none()) {
            containers.remove(container);
        }
    }

    /// Tells now and then what containers have used, those that used more.
    async fn tell_usage(self: Arc<Self>) {
        loop {
            tokio::time::sleep(USAGE_INTERVAL).await;
            let containers = locked(&self.containers);
            let mut told = locked(&self.told_usage);
            told.retain(|id, _| containers.contains_key(id));
            for (id, running) in containers.iter().filter_map(|(id, entry)| Some((id, entry.running.as_ref()?))) {
                let usage = running.container.usage();
                if told.insert(id.clone(), usage.cpu_nanos).unwrap_or_default() != usage.cpu_nanos {
                    let _told_again_when_it_grows = self.node.try_tell(&ToNode::usage(id, usage));
                }
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
