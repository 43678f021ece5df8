//! A sandbox's life: it waits for the node, does what the node says, and goes on while there is none.
//!
//! Holds containers, their pods' networks and their logs. When the node's connection ends the containers go on, and what
//! they need of the node is refused; the next connection is told which ports are bound. A sandbox that nobody has
//! connected to for [`ADOPTION_MAX`] ends, and one without containers ends with its connection.

mod log;
mod node;
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
use wherry_runtime::{Container, GivenCode};
use wherry_vnet::{Namespace, Network, NetworkConfig};

use crate::message::{Ranges, ToNode, ToSandbox, VERSION};
use crate::wire::Wire;
use log::{FileLog, Flusher};
use node::Node;
use uplink::Up;

/// How long a sandbox waits for a node to adopt it.
const ADOPTION_MAX: Duration = Duration::from_secs(60);

/// How often the node is told what containers have used.
const USAGE_INTERVAL: Duration = Duration::from_secs(5);

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

/// A container and what is said of it.
struct Entry {
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
    flusher: Flusher,
    drain: Drain,
}

/// Serves nodes, one after the other, until there is nothing left to do.
pub async fn serve(config: GuestsConfig, drain: Drain) -> Result<(), GuestsError> {
    let GuestsConfig { listener, runtime, guests: threads, clock, lacking } = config;
    let listener = wherry_base::watched(listener, Interest::READABLE)?;
    let node = Node::new();
    let flusher = Flusher::start(Arc::clone(&node))?;
    let (network, containers) = (Mutex::default(), Mutex::default());
    let guests = Arc::new(Guests { runtime, threads, clock, lacking, node, network, containers, flusher, drain });
    guests.drain.spawn(Arc::clone(&guests).tell_usage());
    while let Ok(wire) = tokio::time::timeout(ADOPTION_MAX, accept(&listener)).await {
        let served = guests.serve_node(Wire::new(wire?)?).await;
        guests.node.disconnect();
        if let Err(error) = served {
            tracing::warn!(%error, "the node's connection broke");
        }
        if locked(&guests.containers).is_empty() {
            return Ok(());
        }
    }
    tracing::warn!("no node has come for {ADOPTION_MAX:?}: the sandbox ends");
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
        let hello = ToNode::Hello { version: VERSION, lacking: self.lacking.clone() };
        self.node.connect(Arc::clone(&wire), &hello, &self.drain);
        while let Some((message, descriptors)) = wire.receive(&mut buffer).await? {
            self.obey(message, descriptors);
        }
        Ok(())
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
            ToSandbox::Start(start) => self.drain.spawn(Arc::clone(self).start(*start, descriptors)),
            ToSandbox::Stop { container } => self.with(&container, |entry| entry.container.stop()),
            ToSandbox::Kill { container } => self.with(&container, |entry| entry.container.kill()),
            ToSandbox::Accept { from, to } => {
                if let (Some(pod), Some(socket)) = (self.pod_at(to.ip()), descriptors.pop()) {
                    let _on_guests_threads = self.threads.enter();
                    // Refused where the listener has gone meanwhile: dropping the socket tells the client.
                    let _refused = pod.accept(from, to, socket);
                }
            }
            ToSandbox::Dialed { request, outcome } => self.node.dialed(request, outcome, descriptors.pop()),
            ToSandbox::Resolved { request, outcome } => self.node.resolved(request, outcome),
            ToSandbox::Datagram { from, to, payload } => {
                if let Some(pod) = self.pod_at(to.ip()) {
                    pod.receive(from, to, payload.into());
                }
            }
            ToSandbox::Log { container } => {
                if let Some(file) = descriptors.pop() {
                    self.with(&container, |entry| entry.log.go_on_in(file.into()));
                }
            }
        }
    }

    fn pod_at(&self, address: IpAddr) -> Option<Arc<Namespace>> {
        locked(&self.network).as_ref()?.pod_at(address)
    }

    fn with(&self, container: &str, act: impl FnOnce(&Entry)) {
        if let Some(entry) = locked(&self.containers).get(container) {
            act(entry);
        }
    }

    /// Tells now and then what containers have used, those that used more.
    async fn tell_usage(self: Arc<Self>) {
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            tokio::time::sleep(USAGE_INTERVAL).await;
            let used: Vec<_> = {
                let containers = locked(&self.containers);
                told.retain(|id, _| containers.contains_key(id));
                containers.iter().map(|(id, entry)| (id.clone(), entry.container.usage())).collect()
            };
            for (id, usage) in used {
                if told.insert(id.clone(), usage.cpu_nanos) != Some(usage.cpu_nanos) {
                    self.node.try_tell(&ToNode::usage(&id, usage));
                }
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
