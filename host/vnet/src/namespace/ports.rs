//! Taking the ports of a pod, and giving them back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::Namespace;
use crate::http::HttpHandler;
use crate::listener::{Backlog, Listener};
use crate::ports::{Phase, Ports, Socket};
use crate::udp::{Inbox, UdpSocket};
use crate::uplink::PortKind;

/// How many ports are picked for a module, where containers have them, before none counts as free.
const PICKS_MAX: usize = 16;

/// Why a port cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Another container of the pod has it: `EADDRINUSE`.
    #[error("address already in use")]
    InUse,
    /// Not an address of this pod: `EADDRNOTAVAIL`.
    #[error("cannot assign requested address")]
    NotLocal,
    /// The namespace is closed.
    #[error("the pod's network is closed")]
    Closed,
}

impl Namespace {
    /// Listens on a port; port 0 picks a free one. The unspecified address covers localhost and the pod's address.
    pub fn listen(self: &Arc<Self>, on: SocketAddr) -> Result<Listener, BindError> {
        let backlog = Arc::new(Backlog::default());
        let local = self.bind(on, &Socket::Tcp(Arc::clone(&backlog)), None)?;
        self.tell_bound(PortKind::Tcp, local, true);
        Ok(Listener::new(local, backlog, Arc::downgrade(self)))
    }

    /// Serves a port by a handler as well as by the returned listener: the ingress on this node calls the handler,
    /// everybody else connects to the listener, and the caller speaks HTTP/1.1 over what it accepts.
    pub fn listen_http(self: &Arc<Self>, port: u16, handler: Arc<dyn HttpHandler>) -> Result<Listener, BindError> {
        let backlog = Arc::new(Backlog::default());
        let on = (Ipv4Addr::UNSPECIFIED, port).into();
        let local = self.bind(on, &Socket::Http(Arc::clone(&backlog)), Some(handler))?;
        self.tell_bound(PortKind::Http, local, true);
        Ok(Listener::new(local, backlog, Arc::downgrade(self)))
    }

    /// Binds a UDP port; port 0 picks a free one.
    pub fn bind_udp(self: &Arc<Self>, on: SocketAddr) -> Result<UdpSocket, BindError> {
        let inbox = Arc::new(Inbox::default());
        let local = self.bind(on, &Socket::Udp(Arc::clone(&inbox)), None)?;
        self.tell_bound(PortKind::Udp, local, true);
        Ok(UdpSocket::new(local, inbox, Arc::clone(self)))
    }

    /// Closes the listeners and refuses new ones: connections in progress go on. A pod's SIGTERM.
    pub fn close_listeners(&self) {
        let mut ports = self.lock();
        if ports.phase == Phase::Open {
            ports.phase = Phase::ListenersClosed;
        }
        let gone = self.unbind(&mut ports, |_, socket| socket.backlog().is_some());
        drop(ports);
        gone.iter().for_each(|backlog| backlog.close());
    }

    pub(crate) fn unbind_tcp(&self, backlog: &Arc<Backlog>) {
        self.unbind(&mut self.lock(), |_, socket| socket.is_backlog(backlog));
    }

    pub(crate) fn unbind_udp(&self, inbox: &Arc<Inbox>) {
        self.unbind(&mut self.lock(), |_, socket| socket.is_inbox(inbox));
    }

    /// Takes a port, in the kernel's part as well. Returns what was bound.
    pub(super) fn bind(
        &self,
        on: SocketAddr,
        socket: &Socket,
        handler: Option<Arc<dyn HttpHandler>>,
    ) -> Result<SocketAddr, BindError> {
        let tries = if on.port() == 0 { PICKS_MAX } else { 1 };
        let mut bound = (0..tries).map(|_| self.try_bind(on, socket, handler.clone()));
        bound.find(|bound| *bound != Err(BindError::InUse)).unwrap_or(Err(BindError::InUse))
    }

    fn try_bind(
        &self,
        on: SocketAddr,
        socket: &Socket,
        handler: Option<Arc<dyn HttpHandler>>,
    ) -> Result<SocketAddr, BindError> {
        let mut ports = self.lock();
        let local = ports.bind(self.local(on)?, socket.clone())?;
        if let Some(handler) = handler {
            self.network.add_handler(SocketAddr::new(self.address, local.port()), handler);
        }
        let Some(kernel) = ports.kernel.clone() else { return Ok(local) };
        drop(ports);
        let bound = kernel.bind(socket.protocol(), local);
        if bound.is_err() {
            self.unbind(&mut self.lock(), |at, other| at == local && other.protocol() == socket.protocol());
        }
        bound.map(|()| local)
    }

    /// Takes sockets out of the port table, their handlers with them so that a port's next owner keeps its own.
    /// The backlogs are for the caller to close once it has let go of the table.
    pub(super) fn unbind(&self, ports: &mut Ports, which: impl Fn(SocketAddr, &Socket) -> bool) -> Vec<Arc<Backlog>> {
        let gone = ports.unbind(which);
        for (on, socket) in &gone {
            if matches!(socket, Socket::Http(_) | Socket::Held(_)) {
                self.network.remove_handler(SocketAddr::new(self.address, on.port()));
            }
            self.tell_bound(socket.kind(), *on, false);
            if let Some(kernel) = &ports.kernel {
                kernel.unbind(socket.protocol(), *on);
            }
        }
        gone.into_iter().filter_map(|(_, socket)| socket.backlog().cloned()).collect()
    }

    fn local(&self, on: SocketAddr) -> Result<SocketAddr, BindError> {
        let ip = on.ip().to_canonical();
        if ip.is_unspecified() || self.is_own(ip) {
            Ok(SocketAddr::new(ip, on.port()))
        } else {
            Err(BindError::NotLocal)
        }
    }
}
