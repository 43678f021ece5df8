//! What a sandbox asks of the node for its pods: connections, names, ports, datagrams.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use wherry_vnet::{BindError, HttpHandler, Namespace, UdpSocket, Way};

use super::link::Link;
use crate::message::{Dialed, NameError, Port, Refusal, ToSandbox, WireProtocol};

/// How many ports a sandbox's pods may announce.
pub(super) const PORTS_MAX: usize = 16_384;

/// How many datagrams from a port wait to be sent; further ones are dropped.
const DATAGRAMS_MAX: usize = 256;

/// A bound UDP port's way out; the port is given back when it is dropped.
pub(crate) struct Datagrams {
    outgoing: mpsc::Sender<(SocketAddr, Bytes)>,
    _ends: DropGuard,
}

impl Link {
    /// A connection for a pod of the sandbox.
    pub(super) fn connect(self: &Arc<Self>, request: u64, pod: IpAddr, to: SocketAddr) {
        let place = Arc::clone(&self.asked).try_acquire_owned();
        let (Ok(place), Some(pod)) = (place, self.pod(pod)) else {
            return self.tell(&ToSandbox::Dialed { request, outcome: Err(Refusal::Overloaded) }, Vec::new());
        };
        let link = Arc::clone(self);
        self.drain.spawn(async move {
            let Some(holder) = link.holder() else { return };
            let (outcome, descriptors) = match pod.connect_for(&holder, to).await {
                Ok(Way::Here(at)) => (Ok(Dialed::Here(at)), Vec::new()),
                Ok(Way::Socket { socket, local, peer }) => (Ok(Dialed::Connected { local, peer }), vec![socket]),
                Err(error) => (Err(error.into()), Vec::new()),
            };
            link.tell(&ToSandbox::Dialed { request, outcome }, descriptors);
            drop(place);
        });
    }

    /// A name for a pod of the sandbox.
    pub(super) fn resolve(self: &Arc<Self>, request: u64, pod: IpAddr, name: String) {
        let place = Arc::clone(&self.asked).try_acquire_owned();
        let (Ok(place), Some(pod)) = (place, self.pod(pod)) else {
            return self.tell(&ToSandbox::Resolved { request, outcome: Err(NameError::Missing) }, Vec::new());
        };
        let link = Arc::clone(self);
        self.drain.spawn(async move {
            let outcome = pod.resolve(&name).await.map_err(Into::into);
            link.tell(&ToSandbox::Resolved { request, outcome }, Vec::new());
            drop(place);
        });
    }

    /// A port of a pod of the sandbox is bound, or given back.
    pub(super) fn bound(self: &Arc<Self>, port: Port, is_bound: bool) {
        let Some(pod) = self.pod(port.pod) else { return self.bound_by_survivor(port, is_bound) };
        match (port.protocol, is_bound) {
            (WireProtocol::Tcp, true) => self.bind_tcp(&pod, port, None),
            (WireProtocol::Http, true) => {
                let handler = self.requests(SocketAddr::new(port.pod, port.at.port()));
                self.bind_tcp(&pod, port, handler);
            }
            (WireProtocol::Tcp | WireProtocol::Http, false) => pod.unbind_held(port.at),
            (WireProtocol::Udp, true) => self.bind_udp(&pod, port),
            (WireProtocol::Udp, false) => drop(self.state().datagrams.remove(&(port.pod, port.at))),
        }
    }

    fn bind_tcp(&self, pod: &Namespace, port: Port, handler: Option<Arc<dyn HttpHandler>>) {
        let Some(holder) = self.holder() else { return };
        if let Err(error) = pod.bind_held(port.at, holder, handler) {
            self.not_bound(port, &error);
        }
    }

    fn not_bound(&self, port: Port, error: &BindError) {
        tracing::info!(sandbox = %self.name, ?port, %error, "a module cannot have a port");
        self.tell(&ToSandbox::Taken(port), Vec::new());
    }

    fn bind_udp(self: &Arc<Self>, pod: &Arc<Namespace>, port: Port) {
        let at = port.at;
        if self.state().datagrams.len() >= PORTS_MAX {
            return;
        }
        match pod.bind_udp(at) {
            Ok(socket) => {
                let (outgoing, waiting) = mpsc::channel(DATAGRAMS_MAX);
                let end = CancellationToken::new();
                let (link, address, ended) = (Arc::clone(self), pod.address(), end.clone());
                self.drain.spawn(async move {
                    ended.run_until_cancelled_owned(link.carry(address, socket, waiting)).await;
                });
                self.state().datagrams.insert((address, at), Datagrams { outgoing, _ends: end.drop_guard() });
            }
            Err(error) => self.not_bound(port, &error),
        }
    }

    /// Carries datagrams both ways, for as long as the port is bound.
    async fn carry(
        self: Arc<Self>,
        pod: IpAddr,
        mut socket: UdpSocket,
        mut waiting: mpsc::Receiver<(SocketAddr, Bytes)>,
    ) {
        loop {
            let outgoing = tokio::select! {
                outgoing = waiting.recv() => outgoing,
                () = std::future::poll_fn(|context| socket.poll_receivable(context)) => {
                    self.deliver(pod, &mut socket);
                    continue;
                }
            };
            let Some((to, payload)) = outgoing else { return };
            // What is refused here is lost to the guest, as a datagram may be.
            let _refused = socket.send_to(payload, to);
        }
    }

    fn deliver(&self, pod: IpAddr, socket: &mut UdpSocket) {
        let Some(datagram) = socket.try_receive() else { return };
        let (from, to, payload) = (datagram.from, socket.local(), datagram.payload.into());
        let _dropped_where_full = self.try_tell(&ToSandbox::Datagram { pod, from, to, payload }, Vec::new());
    }

    /// A datagram from a bound port of a pod of the sandbox.
    pub(super) fn send_datagram(&self, pod: IpAddr, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        if let Some(port) = self.state().datagrams.get(&(pod, from)) {
            let _dropped_where_full = port.outgoing.try_send((to, payload.into()));
        }
    }
}
