//! The network of one pod's containers: what it is made of, what of a packet goes where, and its face to the pod network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::TcpSocket;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wherry_base::{Drain, Rng};
use wherry_vnet::{BindError, DialError, KernelSide, Namespace, Protocol, Stream, UdpSocket, pair};

use crate::device::{self, Packets, Tun};
use crate::dns::Resolver;
use crate::doors::Doors;
use crate::drops::{Drops, Why};
use crate::flow;
use crate::flows::{Flows, Handed, Packet};
use crate::nat::Nat;
use crate::netns::Netns;
use crate::packet::{self, Key, Sent};
use crate::stack::Stack;

/// How long a connection within the kernel may take: as long as one to outside.
const CONNECT_MOST: Duration = Duration::from_secs(10);

/// How a pod's containers are joined to the pod network.
pub struct Config {
    /// Where containers find their resolver, at port 53; nothing else is there.
    pub dns: IpAddr,
    /// Called once, when the pod's network is closed.
    pub on_close: Box<dyn FnOnce() + Send>,
}

/// The network of a pod's containers, for as long as the pod's namespace is open.
pub struct PodNet {
    address: Ipv4Addr,
    this: Weak<Self>,
    namespace: Weak<Namespace>,
    netns: Netns,
    tun: Arc<Tun>,
    flows: Arc<Flows>,
    nat: Nat,
    doors: Doors,
    resolver: Resolver,
    drops: Arc<Drops>,
    rng: Rng,
    gone: CancellationToken,
    on_close: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    drain: Drain,
    runtime: Handle,
}

/// Joins the kernel's network namespace `netns` (a descriptor of `/proc/PID/ns/net`) to a pod's, until that is closed.
/// Containers may be in it already, from before this process. Blocks for about a millisecond; `drain` owns what runs, on
/// the present async runtime.
pub fn open(netns: OwnedFd, namespace: &Arc<Namespace>, config: Config, drain: &Drain) -> io::Result<Arc<PodNet>> {
    let IpAddr::V4(address) = namespace.address() else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "Linux containers need a pod address of IPv4"));
    };
    let netns = Netns::enter(netns)?;
    let tun = Arc::new(Tun::new(netns.within(move || device::make(address))?)?);
    let net = Arc::new_cyclic(|this| PodNet {
        address,
        this: this.clone(),
        namespace: Arc::downgrade(namespace),
        netns,
        tun,
        flows: Flows::new(),
        nat: Nat::default(),
        doors: Doors::default(),
        resolver: Resolver::new(SocketAddr::new(config.dns, 53)),
        drops: Arc::default(),
        rng: Rng::from_entropy(),
        gone: CancellationToken::new(),
        on_close: Mutex::new(Some(config.on_close)),
        drain: drain.clone(),
        runtime: Handle::current(),
    });
    net.spawn(Arc::clone(&net).read_all());
    namespace
        .attach(Arc::<PodNet>::clone(&net))
        .map_err(|closed| io::Error::new(io::ErrorKind::NotConnected, closed))?;
    Ok(net)
}

/// What came from containers.
impl PodNet {
    async fn read_all(self: Arc<Self>) {
        let mut packets = Packets::new();
        loop {
            match self.tun.read(&mut packets).await {
                Ok(packet) => self.take(packet).await,
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "a pod's containers have lost their network");
                    return self.close();
                }
            }
        }
    }

    async fn take(self: &Arc<Self>, packet: Bytes) {
        match packet::read(&packet, self.address) {
            Ok(Sent::Tcp { key, opens }) => self.take_segment(key, opens, packet).await,
            Ok(Sent::Udp { port, to, payload }) => self.take_datagram(&packet, port, to.into(), payload),
            Ok(Sent::Echo { to }) if self.resolver.at().ip() == to => self.answer(packet::echo(&packet)),
            Ok(Sent::Echo { .. }) => self.drops.count(Why::Unroutable),
            Err(why) => self.drops.count(why),
        }
    }

    async fn take_segment(self: &Arc<Self>, key: Key, opens: bool, packet: Bytes) {
        let Some(packet) = self.flows.admit(packet).await else { return };
        match self.flows.hand(key, packet) {
            Handed::Taken => {}
            Handed::Full => self.drops.count(Why::NoRoom),
            Handed::Stray(packet) if opens => self.open(key, packet),
            Handed::Stray(packet) => self.answer(packet::reset(&packet.bytes)),
        }
    }

    fn open(self: &Arc<Self>, key: Key, packet: Packet) {
        match self.flows.opened(key) {
            Some((place, dialing)) => self.spawn(flow::from_container(Arc::clone(self), place, packet, dialing)),
            None => self.drops.count(Why::NoRoom),
        }
    }

    fn take_datagram(self: &Arc<Self>, packet: &Bytes, port: u16, to: SocketAddr, payload: &[u8]) {
        if to == self.resolver.at() {
            if !self.resolver.ask(self, port, payload) {
                self.drops.count(Why::NoRoom);
            }
            return;
        }
        // A copy: a slice would keep all that was read with it.
        match self.nat.send(self, port, to, Bytes::copy_from_slice(payload)) {
            Ok(true) => {}
            Ok(false) => self.drops.count(Why::NoRoom),
            Err(error) => self.answer(packet::refusal(packet, &dial_error(error))),
        }
    }
}

/// What the parts of it need.
impl PodNet {
    /// How many packets of the pod's containers were dropped for a reason.
    pub fn dropped(&self, why: Why) -> u64 {
        self.drops.of(why)
    }

    pub(crate) const fn netns(&self) -> &Netns {
        &self.netns
    }

    pub(crate) const fn nat(&self) -> &Nat {
        &self.nat
    }

    /// A port of the pod's address.
    pub(crate) const fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    /// The pod's namespace, while it is open.
    pub(crate) fn namespace(&self) -> Option<Arc<Namespace>> {
        self.namespace.upgrade()
    }

    /// A stack that stands for `local`.
    pub(crate) fn stack(&self, local: SocketAddrV4) -> Stack {
        Stack::new(local, Arc::clone(&self.tun), Arc::clone(&self.drops), self.rng.next())
    }

    /// Runs a task until the pod's network is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        let _on_its_threads = self.runtime.enter();
        self.drain.spawn(async move {
            let _ended = gone.run_until_cancelled_owned(task).await;
        });
    }

    /// Connects on behalf of a container.
    pub(crate) async fn dial(self: &Arc<Self>, to: SocketAddrV4) -> Result<Stream, DialError> {
        let to = SocketAddr::V4(to);
        if to == self.resolver.at() {
            let (ours, theirs) = pair(self.at(0).into(), to);
            self.spawn(self.resolver.serve(self, theirs)?);
            return Ok(ours);
        }
        self.namespace().ok_or(DialError::Unreachable)?.connect(to).await
    }

    /// The pod network's end of a container's UDP port.
    pub(crate) fn udp_of(&self, port: u16) -> Option<UdpSocket> {
        Some(self.namespace()?.udp_of_container(self.at(port).into()))
    }

    /// Gives a container's connection to the module that listens.
    pub(crate) fn give(&self, from: SocketAddr, to: SocketAddr, socket: OwnedFd) -> io::Result<()> {
        let namespace = self.namespace().ok_or(io::ErrorKind::NotConnected)?;
        namespace.accept(from, to, socket).map_err(io::Error::other)
    }

    /// Gives a container's datagram to the module that is bound at `on`.
    pub(crate) fn give_datagram(&self, from: SocketAddr, on: SocketAddr, payload: Bytes) {
        let to = if on.ip().is_unspecified() { SocketAddr::new(from.ip(), on.port()) } else { on };
        if let Some(namespace) = self.namespace() {
            namespace.receive(from, to, payload);
        }
    }

    /// Sends a packet to a container, if there is one.
    pub(crate) fn answer(&self, packet: Option<Vec<u8>>) {
        if packet.is_some_and(|packet| self.tun.send(&packet).is_err()) {
            self.drops.count(Why::Unsent);
        }
    }

    /// Sends a datagram to a container, as if `from` had sent it.
    pub(crate) fn inject(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let length = packet::datagram_length(payload);
        let fits = length <= device::MTU;
        if !fits || self.tun.make_and_send(length, |made| packet::datagram(made, from, to, payload)).1.is_err() {
            self.drops.count(Why::Unsent);
        }
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip == self.address
    }
}

#[async_trait]
impl KernelSide for PodNet {
    async fn connect(&self, to: SocketAddr) -> Result<OwnedFd, DialError> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let make = move || Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?);
        let socket = TcpSocket::from_std_stream(self.netns.within(make)?.into());
        socket.set_nodelay(true)?;
        let connected = tokio::time::timeout(CONNECT_MOST, socket.connect(to)).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(refused_or_io)?;
        Ok(stream.into_std()?.into())
    }

    async fn carry(&self, connection: Stream) -> Result<(), DialError> {
        let (SocketAddr::V4(remote), Some(net)) = (connection.peer, self.this.upgrade()) else {
            return Err(DialError::Unreachable);
        };
        let key = Key { port: connection.local.port(), remote };
        let place = self.flows.opening(key).ok_or(DialError::Overloaded)?;
        flow::to_container(&net, place, connection).await
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()> {
        if self.is_own(from.ip()) {
            return self.doors.send(from, to, &payload);
        }
        let SocketAddr::V4(from) = self.nat.known_as(from, to.port()) else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        self.inject(from, self.at(to.port()), &payload);
        Ok(())
    }

    fn bind(&self, protocol: Protocol, at: SocketAddr) -> Result<(), BindError> {
        let net = self.this.upgrade().ok_or(BindError::Closed)?;
        let _on_its_threads = self.runtime.enter();
        self.doors.bind(&net, protocol, at)
    }

    fn unbind(&self, protocol: Protocol, at: SocketAddr) {
        self.doors.unbind(protocol, at);
    }

    fn close(&self) {
        self.gone.cancel();
        self.doors.close();
        let on_close = self.on_close.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(on_close) = on_close {
            on_close();
        }
    }
}

fn refused_or_io(error: io::Error) -> DialError {
    if error.kind() == io::ErrorKind::ConnectionRefused { DialError::Refused } else { DialError::Io(error) }
}

/// What a datagram was refused for, in the words of connections.
fn dial_error(error: io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => DialError::Denied,
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        _ => DialError::Unreachable,
    }
}
