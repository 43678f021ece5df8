//! Datagrams in memory: a bounded queue a socket; what does not fit is dropped, as UDP may.
//!
//! A datagram to a Service goes to one endpoint for as long as that endpoint takes them, and its answers come back
//! under the Service's address, as a kernel's connection tracking does it.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio_util::sync::{CancellationToken, DropGuard};
use wherry_base::Drain;

use crate::namespace::{BindError, Namespace};
use crate::pipe::park;
use crate::route::Route;
use crate::services::Protocol;

/// The largest payload of a datagram over IPv4.
const PAYLOAD_BYTES_MAX: usize = 65_507;

/// How many datagrams, and how many bytes of them, wait to be read.
const INBOX_DATAGRAMS_MAX: usize = 256;
const INBOX_BYTES_MAX: usize = 256 * 1024;

/// How many Services a socket can be in exchange with before the oldest is forgotten.
const FLOWS_MAX: usize = 64;

/// One datagram and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The sender.
    pub from: SocketAddr,
    /// The payload, at most 65,507 bytes.
    pub payload: Bytes,
}

/// A bound UDP socket of a namespace; unbinds when dropped.
#[derive(Debug)]
pub struct UdpSocket {
    local: SocketAddr,
    inbox: Arc<Inbox>,
    namespace: Arc<Namespace>,
    flows: Mutex<VecDeque<Flow>>,
    world: OnceLock<World>,
}

/// The Service that was meant and the endpoint that was chosen.
#[derive(Clone, Copy, Debug)]
struct Flow {
    service: SocketAddr,
    endpoint: SocketAddr,
}

/// The kernel's socket for datagrams out of the cluster.
#[derive(Debug)]
struct World {
    socket: Arc<tokio::net::UdpSocket>,
    _ends_the_reader: DropGuard,
}

/// The datagrams that wait for a socket.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<Datagram>,
    bytes: usize,
    waker: Option<Waker>,
}

impl UdpSocket {
    pub(crate) fn new(local: SocketAddr, inbox: Arc<Inbox>, namespace: Arc<Namespace>) -> Self {
        Self { local, inbox, namespace, flows: Mutex::default(), world: OnceLock::new() }
    }

    /// The address it is bound to.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes a datagram without waiting.
    pub fn try_receive(&mut self) -> Option<Datagram> {
        let Datagram { from, payload } = self.inbox.pop()?;
        Some(Datagram { from: self.known_as(from), payload })
    }

    /// The socket, once it is sure that no container of the pod has the port: `InUse` where one has. Where the pod has modules
    /// only, that is sure at once.
    pub async fn settled(self) -> Result<Self, BindError> {
        if self.namespace.keeps(Protocol::Udp, self.local).await { Ok(self) } else { Err(BindError::InUse) }
    }

    /// The address that an answer from `from` comes under: that of the Service that was asked.
    pub fn known_as(&self, from: SocketAddr) -> SocketAddr {
        self.flows().iter().find(|flow| flow.endpoint == from).map_or(from, |flow| flow.service)
    }

    /// Ready when `try_receive` would give one.
    pub fn poll_receivable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.inbox.poll(context)
    }

    /// Sends a datagram; Services are translated, a denied destination is `PermissionDenied`.
    pub fn send_to(&self, payload: Bytes, to: SocketAddr) -> io::Result<()> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.send_along_flow(&payload, to) {
            return Ok(());
        }
        match self.namespace.route(Protocol::Udp, to) {
            Route::Own(at) => self.deliver(&self.namespace, at, payload),
            Route::Pod(pod, at) => {
                self.remember(to, at);
                self.deliver(&pod, at, payload)
            }
            Route::Peer(peers, at) => {
                self.remember(to, at);
                peers.send(self.source(at.ip()), at, payload)
            }
            Route::Up(uplink) => uplink.send(self.namespace.address(), self.local, to, payload),
            Route::World(at) => self.send_to_world(&payload, at),
            Route::Denied => Err(io::ErrorKind::PermissionDenied.into()),
            Route::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            Route::Unreachable(_) => Err(io::ErrorKind::HostUnreachable.into()),
        }
    }

    /// To a pod of this process; in a sandbox, to its containers where no module is bound.
    fn deliver(&self, pod: &Namespace, at: SocketAddr, payload: Bytes) -> io::Result<()> {
        match (pod.deliver(self.source(at.ip()), at, payload.clone()), self.namespace.network().uplink()) {
            (Err(_nobody), Some(uplink)) => uplink.send(self.namespace.address(), self.local, at, payload),
            (done, _) => done,
        }
    }

    /// Whether an endpoint that was chosen before took the datagram.
    fn send_along_flow(&self, payload: &Bytes, to: SocketAddr) -> bool {
        let Some(flow) = self.flows().iter().find(|flow| flow.service == to).copied() else { return false };
        let sent = self.send_directly(payload, flow);
        if !sent {
            self.flows().retain(|flow| flow.service != to);
        }
        sent
    }

    /// Whether the endpoint takes datagrams: one of another node, as long as it serves.
    fn send_directly(&self, payload: &Bytes, Flow { service, endpoint }: Flow) -> bool {
        let network = self.namespace.network();
        let source = self.source(endpoint.ip());
        if let Some(pod) = network.pod_at(endpoint.ip()) {
            return pod.deliver(source, endpoint, payload.clone()).is_ok();
        }
        let peers = network.peers().filter(|_| network.services().serves(service, endpoint));
        peers.is_some_and(|peers| peers.send(source, endpoint, payload.clone()).is_ok())
    }

    fn remember(&self, service: SocketAddr, endpoint: SocketAddr) {
        if service == endpoint {
            return;
        }
        let mut flows = self.flows();
        if flows.len() >= FLOWS_MAX {
            flows.pop_front();
        }
        flows.push_back(Flow { service, endpoint });
    }

    fn send_to_world(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.world.get().is_none() {
            let world = World::open(to, &self.inbox, self.namespace.network().tasks())?;
            let _another_was_first = self.world.set(world);
        }
        let world = self.world.get().ok_or(io::ErrorKind::NotConnected)?;
        match world.socket.try_send_to(payload, to) {
            Err(full) if full.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// The address that a receiver at `to` sees.
    fn source(&self, to: IpAddr) -> SocketAddr {
        let ip = match self.local.ip() {
            own if !own.is_unspecified() => own,
            _ if to.is_loopback() => to,
            _ => self.namespace.address(),
        };
        SocketAddr::new(ip, self.local.port())
    }

    fn flows(&self) -> MutexGuard<'_, VecDeque<Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.namespace.unbind_udp(&self.inbox);
    }
}

impl World {
    fn open(to: SocketAddr, inbox: &Arc<Inbox>, tasks: &Drain) -> io::Result<Self> {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
        let end = CancellationToken::new();
        let reading = read_world(Arc::clone(&socket), Arc::clone(inbox));
        let ended = end.clone();
        tasks.spawn(async move {
            let _cancelled = ended.run_until_cancelled_owned(reading).await;
        });
        Ok(Self { socket, _ends_the_reader: end.drop_guard() })
    }
}

async fn read_world(socket: Arc<tokio::net::UdpSocket>, inbox: Arc<Inbox>) {
    let mut buffer = vec![0; PAYLOAD_BYTES_MAX];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let payload = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        inbox.push(Datagram { from, payload });
    }
}

impl Inbox {
    pub(crate) fn push(&self, datagram: Datagram) {
        let mut waiting = self.lock();
        let full = waiting.datagrams.len() >= INBOX_DATAGRAMS_MAX || waiting.bytes >= INBOX_BYTES_MAX;
        if full {
            return;
        }
        waiting.bytes += datagram.payload.len();
        waiting.datagrams.push_back(datagram);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn pop(&self) -> Option<Datagram> {
        let mut waiting = self.lock();
        let datagram = waiting.datagrams.pop_front()?;
        waiting.bytes -= datagram.payload.len();
        Some(datagram)
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if !waiting.datagrams.is_empty() {
            return Poll::Ready(());
        }
        park(&mut waiting.waker, context);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
