//! The node's part of the pod network: which addresses are whose, and the way from one to another.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use bytes::Bytes;
use ipnet::IpNet;
use wherry_base::{Drain, Trigger};

use crate::addresses::Addresses;
use crate::dial::DialError;
use crate::egress;
use crate::gate::Gate;
use crate::http::HttpHandler;
use crate::namespace::{BindError, Namespace};
use crate::peers::Peers;
use crate::ports::Ports;
use crate::route::Route;
use crate::services::{NoServices, Protocol, Services};
use crate::stream::{Stream, pair};
use crate::udp::UdpSocket;
use crate::uplink::Uplink;

/// The address ranges of a node.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// This node's pods get their addresses here.
    pub pod_cidr: IpNet,
    /// All pods of the cluster.
    pub cluster_cidr: IpNet,
    /// All Services.
    pub service_cidr: IpNet,
    /// The node's own address in the pod network, which connections made on the node's behalf come from. Never a
    /// loopback address: that is each pod's own.
    pub node_ip: IpAddr,
}

/// Who a namespace is for.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    /// The pod's namespace, which short names are looked up in.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
}

/// Whether a pod may reach addresses outside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// No: such connections are refused at once.
    Denied,
    /// Yes, over kernel sockets.
    Allowed,
}

/// All pods' addresses of the range are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all addresses of {0} are in use")]
pub struct AddressesExhausted(pub IpNet);

/// The pod network of a node.
pub struct Network {
    config: NetworkConfig,
    services: Arc<dyn Services>,
    /// Where all that is not of this process leads, in a sandbox.
    uplink: Option<Arc<dyn Uplink>>,
    /// Who reaches the pods of other nodes.
    peers: Option<Arc<dyn Peers>>,
    addresses: Mutex<Addresses>,
    pods: RwLock<HashMap<IpAddr, Weak<Namespace>>>,
    handlers: RwLock<HashMap<SocketAddr, Arc<dyn HttpHandler>>>,
    node_ports: Mutex<Ports>,
    node: Mutex<Weak<Namespace>>,
    gate: Gate,
    drain: Drain,
}

impl Network {
    /// The network of a node that has no others beside it, without pods.
    pub fn new(config: NetworkConfig, services: Arc<dyn Services>) -> Arc<Self> {
        Self::with(config, services, None, None)
    }

    /// The network of one node of several, without pods.
    pub fn among(config: NetworkConfig, services: Arc<dyn Services>, peers: Arc<dyn Peers>) -> Arc<Self> {
        Self::with(config, services, None, Some(peers))
    }

    /// A sandbox's part of a node's network.
    pub fn in_sandbox(config: NetworkConfig, uplink: Arc<dyn Uplink>) -> Arc<Self> {
        Self::with(config, Arc::new(NoServices), Some(uplink), None)
    }

    fn with(
        config: NetworkConfig,
        services: Arc<dyn Services>,
        uplink: Option<Arc<dyn Uplink>>,
        peers: Option<Arc<dyn Peers>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            addresses: Mutex::new(Addresses::new(config.pod_cidr)),
            config,
            services,
            uplink,
            peers,
            pods: RwLock::default(),
            handlers: RwLock::default(),
            node_ports: Mutex::default(),
            node: Mutex::default(),
            gate: Gate::new(),
            drain: Trigger::new().drain(),
        })
    }

    /// The ranges.
    pub const fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// A new namespace with an address of its own; recently used addresses are used again last.
    pub fn namespace(self: &Arc<Self>, pod: PodIdentity, egress: Egress) -> Result<Arc<Namespace>, AddressesExhausted> {
        let taken = lock(&self.addresses).take();
        let address = taken.ok_or(AddressesExhausted(self.config.pod_cidr))?;
        Ok(self.add(pod, egress, address))
    }

    /// A namespace of a pod that has its address already: in a sandbox, or after a restart of the node. `None` where
    /// the address is not free.
    pub fn namespace_at(self: &Arc<Self>, pod: PodIdentity, egress: Egress, address: IpAddr) -> Option<Arc<Namespace>> {
        let is_free = match self.uplink {
            Some(_) => self.pod_at(address).is_none(),
            None => lock(&self.addresses).take_exactly(address),
        };
        is_free.then(|| self.add(pod, egress, address))
    }

    fn add(self: &Arc<Self>, pod: PodIdentity, egress: Egress, address: IpAddr) -> Arc<Namespace> {
        let namespace = Arc::new(Namespace::new(Arc::clone(self), pod, address, egress));
        write(&self.pods).insert(address, Arc::downgrade(&namespace));
        namespace
    }

    /// Connects on the node's behalf (ingress, probes, node ports) to a pod or Service; to what is neither, over the
    /// kernel.
    pub async fn dial(&self, to: SocketAddr) -> Result<Stream, DialError> {
        let from = SocketAddr::new(self.config.node_ip, lock(&self.node_ports).ephemeral());
        match self.route(Protocol::Tcp, from.ip(), to) {
            Route::Pod(pod, to) => pod.open(from, to).await,
            Route::Peer(peers, to) => {
                let (ours, theirs) = pair(from, to);
                peers.carry(theirs).await?;
                Ok(ours)
            }
            Route::World(to) | Route::Own(to) => {
                let (ours, theirs) = pair(from, to);
                egress::bridge(&self.drain, egress::connect(to).await?, theirs);
                Ok(ours)
            }
            Route::Denied => Err(DialError::Denied),
            Route::Refused => Err(DialError::Refused),
            Route::Up(_) | Route::Unreachable(_) => Err(DialError::Unreachable),
        }
    }

    /// A connection from a pod of another node to a pod of this one, and to nothing else: whoever carries it has seen to it
    /// that `from` is an address of that node.
    pub async fn open(&self, from: SocketAddr, to: SocketAddr) -> Result<Stream, DialError> {
        self.pod_at(to.ip()).ok_or(DialError::Unreachable)?.open(from, to).await
    }

    /// A datagram from a pod of another node to a socket of this one's pods, or of the node itself; one that nobody is
    /// bound to is dropped.
    pub fn receive(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) {
        let node = || self.node_namespace().filter(|_| to.ip() == self.config.node_ip);
        if let Some(pod) = self.pod_at(to.ip()).or_else(node) {
            let _lost_as_datagrams_may_be = pod.deliver(from, to, payload);
        }
    }

    /// The handler that serves this very address on this node, if it is an HTTP module's.
    pub fn handler(&self, at: SocketAddr) -> Option<Arc<dyn HttpHandler>> {
        if self.gate.is_closing() && self.pod_at(at.ip()).is_none() {
            return None;
        }
        read(&self.handlers).get(&at).cloned()
    }

    /// Until when pods may be reached.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A UDP socket on the node's behalf, at the node's address and a free port of the pod network: for node ports.
    pub fn bind_node_udp(self: &Arc<Self>) -> Result<UdpSocket, BindError> {
        let mut held = lock(&self.node);
        let node = held.upgrade().unwrap_or_else(|| {
            let name = String::from("node");
            let identity = PodIdentity { namespace: String::new(), name, uid: String::new() };
            Arc::new(Namespace::new(Arc::clone(self), identity, self.config.node_ip, Egress::Denied))
        });
        *held = Arc::downgrade(&node);
        drop(held);
        node.bind_udp(SocketAddr::new(self.config.node_ip, 0))
    }

    /// Where pods' answers to the node's datagrams go.
    pub(crate) fn node_namespace(&self) -> Option<Arc<Namespace>> {
        lock(&self.node).upgrade()
    }

    pub(crate) const fn uplink(&self) -> Option<&Arc<dyn Uplink>> {
        self.uplink.as_ref()
    }

    pub(crate) const fn peers(&self) -> Option<&Arc<dyn Peers>> {
        self.peers.as_ref()
    }

    pub(crate) fn services(&self) -> &dyn Services {
        &*self.services
    }

    /// What outlives its caller, such as the rest of a stream that is still to be sent.
    pub const fn tasks(&self) -> &Drain {
        &self.drain
    }

    /// The pod of this process that has an address, and may be reached.
    pub fn pod_at(&self, address: IpAddr) -> Option<Arc<Namespace>> {
        let pod = read(&self.pods).get(&address)?.upgrade()?;
        (!self.gate.is_closed_to(&pod.patience)).then_some(pod)
    }

    pub(crate) fn add_handler(&self, at: SocketAddr, handler: Arc<dyn HttpHandler>) {
        write(&self.handlers).insert(at, handler);
    }

    pub(crate) fn remove_handler(&self, at: SocketAddr) {
        write(&self.handlers).remove(&at);
    }

    /// Gives back a closed namespace's address.
    pub(crate) fn forget(&self, address: IpAddr) {
        write(&self.pods).remove(&address);
        lock(&self.addresses).give_back(address);
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("config", &self.config).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(rw: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    rw.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(rw: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    rw.write().unwrap_or_else(PoisonError::into_inner)
}
