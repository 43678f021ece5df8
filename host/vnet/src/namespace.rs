//! A pod's network namespace: its address, its localhost, its ports, its names.

mod held;
mod mixed;
mod ports;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::dial::DialError;
use crate::egress;
use crate::gate::Patience;
use crate::kernel::KernelSide;
use crate::listener::Backlog;
use crate::network::{Egress, Network, PodIdentity};
use crate::ports::{Phase, Ports, Socket};
use crate::route::{Route, Tries};
use crate::services::{Protocol, Resolution};
use crate::stream::{Handle, Stream, pair};
use crate::udp::{Datagram, Inbox};
use crate::uplink::Holder;

pub use ports::BindError;

/// How many names an alias may lead through before it counts as missing.
const ALIASES_MAX: usize = 4;

/// The network of one pod, shared by its containers. Its address returns to the pool when `close` is called or the
/// last clone of the `Arc` goes.
pub struct Namespace {
    network: Arc<Network>,
    pod: PodIdentity,
    address: IpAddr,
    egress: Egress,
    pub(crate) patience: Patience,
    /// Names of the pod's own, and their addresses.
    hosts: OnceLock<Vec<(String, IpAddr)>>,
    ports: Mutex<Ports>,
}

/// Who listens at an address of the pod.
enum At {
    Module(Arc<Backlog>),
    Holder(Arc<dyn Holder>),
    /// If anybody, a container.
    Kernel(Arc<dyn KernelSide>),
}

impl Namespace {
    pub(crate) fn new(network: Arc<Network>, pod: PodIdentity, address: IpAddr, egress: Egress) -> Self {
        let (patience, hosts, ports) = (Patience::default(), OnceLock::new(), Mutex::default());
        Self { network, pod, address, egress, patience, hosts, ports }
    }

    /// The pod's address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The pod.
    pub const fn pod(&self) -> &PodIdentity {
        &self.pod
    }

    /// How much longer than the node's gate says the pod may be reached by others; for ever at first.
    pub fn set_patience(&self, patience: Duration) {
        self.patience.set(patience);
    }

    /// Names that mean something in this pod only, as in a hosts file. The first call counts.
    pub fn set_hosts(&self, hosts: Vec<(String, IpAddr)>) {
        let _known = self.hosts.set(hosts);
    }

    /// Those names, and their addresses.
    pub fn hosts(&self) -> &[(String, IpAddr)] {
        self.hosts.get().map_or(&[], Vec::as_slice)
    }

    /// Whether the pod may leave the cluster.
    pub const fn egress(&self) -> Egress {
        self.egress
    }

    /// Connects to localhost, a pod, a Service, or (where egress is allowed) the world.
    pub async fn connect(self: &Arc<Self>, to: SocketAddr) -> Result<Stream, DialError> {
        let mut tries = Tries::new(to);
        loop {
            let route = tries.note(self.route(Protocol::Tcp, to));
            match self.follow(route, to).await {
                Err(why) if tries.again(self.network.services(), &why) => {}
                done => return done,
            }
        }
    }

    async fn follow(self: &Arc<Self>, route: Route, to: SocketAddr) -> Result<Stream, DialError> {
        match route {
            Route::Own(to) => self.connect_within(self, to).await,
            Route::Pod(pod, to) => self.connect_within(&pod, to).await,
            Route::Up(uplink) => self.connect_up(&*uplink, to).await,
            Route::Peer(peers, to) => {
                let (ours, theirs) = self.pair(to)?;
                peers.carry(theirs).await?;
                Ok(ours)
            }
            Route::World(to) => {
                let kernel = egress::connect(to).await?;
                let (ours, theirs) = self.pair(to)?;
                egress::bridge(self.network.tasks(), kernel, theirs);
                Ok(ours)
            }
            Route::Denied => Err(DialError::Denied),
            Route::Refused => Err(DialError::Refused),
            Route::Unreachable(_) => Err(DialError::Unreachable),
        }
    }

    /// What a name means here: `localhost`, the pod's own name, those of its hosts, Services; the world's names only with egress.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Resolution> {
        if let Some(uplink) = self.network.uplink() {
            return match self.resolve_in_cluster(name) {
                Resolution::Addresses(addresses) => Ok(addresses),
                _ => uplink.resolve(self.address, name).await,
            };
        }
        let mut name = name.to_owned();
        for _ in 0..ALIASES_MAX {
            match self.resolve_in_cluster(&name) {
                Resolution::Addresses(addresses) => return Ok(addresses),
                Resolution::Missing => return Err(Resolution::Missing),
                Resolution::Alias(other) => name = other,
                Resolution::Foreign if self.egress == Egress::Allowed => return egress::resolve(&name).await,
                Resolution::Foreign => return Err(Resolution::Foreign),
            }
        }
        Err(Resolution::Missing)
    }

    /// Closes everything and gives back the address.
    pub fn close(&self) {
        let mut ports = self.lock();
        if ports.phase == Phase::Closed {
            return;
        }
        ports.phase = Phase::Closed;
        let gone = self.unbind(&mut ports, |_, _| true);
        let connections = ports.take_connections();
        let kernel = ports.kernel.take();
        drop(ports);
        gone.iter().for_each(|backlog| backlog.close());
        connections.iter().for_each(Handle::abort);
        kernel.iter().for_each(|kernel| kernel.close());
        self.network.forget(self.address);
    }

    pub(crate) const fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Where `to` leads from here.
    pub(crate) fn route(&self, protocol: Protocol, to: SocketAddr) -> Route {
        let ip = to.ip().to_canonical();
        if ip.is_unspecified() {
            return Route::Own(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to.port()));
        }
        if self.is_own(ip) {
            return Route::Own(SocketAddr::new(ip, to.port()));
        }
        match self.network.route(protocol, self.address, SocketAddr::new(ip, to.port())) {
            Route::World(_) if self.egress == Egress::Denied => Route::Denied,
            route => route,
        }
    }

    /// A connection from `from` to the listener here at `to`.
    pub(crate) async fn open(&self, from: SocketAddr, to: SocketAddr) -> Result<Stream, DialError> {
        match self.listener(to)? {
            At::Module(backlog) => {
                let (client, server) = pair(from, to);
                if !self.remember(&server) {
                    return Err(DialError::Refused);
                }
                backlog.offer(server)?;
                Ok(client)
            }
            At::Holder(holder) => self.open_held(&*holder, from, to),
            At::Kernel(kernel) => self.open_kernel(&*kernel, from, to).await,
        }
    }

    /// A datagram from `from` to the socket here that is bound at `to`, a module's or else a container's.
    pub(crate) fn deliver(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()> {
        if let Some(inbox) = self.inbox(to) {
            inbox.push(Datagram { from, payload });
            return Ok(());
        }
        let kernel = self.lock().kernel.clone();
        kernel.ok_or(io::ErrorKind::ConnectionRefused)?.send(from, to, payload)
    }

    /// The inbox of the module's UDP socket that is bound at `to`.
    pub(crate) fn inbox(&self, to: SocketAddr) -> Option<Arc<Inbox>> {
        match self.lock().find(Protocol::Udp, to)? {
            Socket::Udp(inbox) => Some(Arc::clone(inbox)),
            _ => None,
        }
    }

    /// To a pod of this process; in a sandbox, to its containers where no module listens.
    async fn connect_within(&self, other: &Self, to: SocketAddr) -> Result<Stream, DialError> {
        match (self.connect_to(other, to).await, self.network.uplink()) {
            (Err(DialError::Refused), Some(uplink)) => self.connect_up(&**uplink, to).await,
            (done, _) => done,
        }
    }

    async fn connect_to(&self, other: &Self, to: SocketAddr) -> Result<Stream, DialError> {
        let stream = other.open(self.client_of(to), to).await?;
        if self.remember(&stream) { Ok(stream) } else { Err(DialError::Unreachable) }
    }

    /// Who listens at `to`.
    fn listener(&self, to: SocketAddr) -> Result<At, DialError> {
        let ports = self.lock();
        match ports.find(Protocol::Tcp, to) {
            Some(Socket::Tcp(backlog) | Socket::Http(backlog)) => Ok(At::Module(Arc::clone(backlog))),
            Some(Socket::Held(holder)) => Ok(At::Holder(Arc::clone(holder))),
            Some(Socket::Udp(_)) | None => ports.kernel.clone().map(At::Kernel).ok_or(DialError::Refused),
        }
    }

    /// Both ends of a connection out of this node.
    fn pair(&self, to: SocketAddr) -> Result<(Stream, Stream), DialError> {
        let (ours, theirs) = pair(self.client_address(self.address), to);
        if self.remember(&ours) { Ok((ours, theirs)) } else { Err(DialError::Unreachable) }
    }

    fn remember(&self, stream: &Stream) -> bool {
        let mut ports = self.lock();
        if ports.phase == Phase::Closed {
            return false;
        }
        ports.remember(stream.handle());
        true
    }

    /// This pod's end of a connection to `to`.
    fn client_of(&self, to: SocketAddr) -> SocketAddr {
        self.client_address(if to.ip().is_loopback() { to.ip() } else { self.address })
    }

    fn client_address(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.lock().ephemeral())
    }

    fn resolve_in_cluster(&self, name: &str) -> Resolution {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Resolution::Addresses(vec![address]);
        }
        let plain = name.strip_suffix('.').unwrap_or(name);
        if plain.eq_ignore_ascii_case("localhost") {
            return Resolution::Addresses(vec![Ipv4Addr::LOCALHOST.into()]);
        }
        if plain.eq_ignore_ascii_case(&self.pod.name) {
            return Resolution::Addresses(vec![self.address]);
        }
        let own = self.hosts().iter().filter(|(host, _)| plain.eq_ignore_ascii_case(host));
        let own: Vec<_> = own.map(|(_, address)| *address).collect();
        if !own.is_empty() {
            return Resolution::Addresses(own);
        }
        self.network.services().resolve(&self.pod.namespace, name)
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip == self.address
    }

    fn lock(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pod, address, egress, .. } = self;
        f.debug_struct("Namespace").field("pod", pod).field("address", address).field("egress", egress).finish()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
