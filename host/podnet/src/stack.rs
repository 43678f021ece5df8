//! One TCP connection with a container: a stack that has nothing but it, so that a packet finds its connection by a look in
//! a table, and connections share no lock.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::Arc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::time::{Duration, Instant};

use crate::device::{MTU, Tun};
use crate::drops::{Drops, Why};
use crate::flows::Packet;
use crate::packet::checksums;

/// How much of each direction waits in a stack, in bytes: enough that a sender of the largest packets need not stop for each.
/// Memory is used as far as it is filled.
const BUFFER_BYTES: usize = 256 * 1024;

/// The stack of one connection.
pub(crate) struct Stack {
    began: Instant,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    link: Link,
}

/// What a stack has of the device.
struct Link {
    incoming: VecDeque<Packet>,
    tun: Arc<Tun>,
    drops: Arc<Drops>,
}

impl Stack {
    /// A stack that stands for `local`, which is not the container.
    pub(crate) fn new(local: SocketAddrV4, tun: Arc<Tun>, drops: Arc<Drops>, seed: u64) -> Self {
        let mut link = Link { incoming: VecDeque::new(), tun, drops };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut link, smoltcp::time::Instant::ZERO);
        // All addresses are in its network: there is but one way, and no gateway.
        let address = IpCidr::new(IpAddress::Ipv4(*local.ip()), 0);
        interface.update_ip_addrs(|addresses| {
            let _there_is_room_for_one = addresses.push(address);
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        // A kernel that sends little at once has room for no more than two of the largest packets, and would wait.
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(socket);
        Self { began: Instant::now(), interface, sockets, socket, link }
    }

    /// Waits for the container's connection to `local`. Whether it can.
    pub(crate) fn listen(&mut self, local: SocketAddrV4) -> bool {
        self.socket().listen((IpAddress::Ipv4(*local.ip()), local.port())).is_ok()
    }

    /// Begins a connection to the container. Whether it can.
    pub(crate) fn connect(&mut self, local: SocketAddrV4, to: SocketAddrV4) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
        let local = (IpAddress::Ipv4(*local.ip()), local.port());
        socket.connect(self.interface.context(), (IpAddress::Ipv4(*to.ip()), to.port()), local).is_ok()
    }

    pub(crate) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    /// Takes a packet of the container, for the next [`poll`](Self::poll).
    pub(crate) fn feed(&mut self, packet: Packet) {
        self.link.incoming.push_back(packet);
    }

    /// Takes in what came, and sends what is to be sent now.
    pub(crate) fn poll(&mut self) {
        let now = self.now();
        self.interface.poll(now, &mut self.link, &mut self.sockets);
    }

    /// When to poll again where nothing comes.
    pub(crate) fn poll_at(&mut self) -> Option<Instant> {
        let now = self.now();
        let at = self.interface.poll_at(now, &self.sockets)?;
        Some(self.began + Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or_default()))
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// A packet on its way in.
pub(crate) struct In(Packet);

/// Room for a packet out.
pub(crate) struct Out<'a>(&'a Link);

impl Device for Link {
    type RxToken<'a> = In;
    type TxToken<'a> = Out<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(In, Out<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((In(packet), Out(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Out<'_>> {
        Some(Out(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = checksums();
        capabilities
    }
}

impl RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0.bytes)
    }
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let (made, sent) = self.0.tun.make_and_send(length, fill);
        if sent.is_err() {
            // As on any network: it is sent again.
            self.0.drops.count(Why::Unsent);
        }
        made
    }
}
