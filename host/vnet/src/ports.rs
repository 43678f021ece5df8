//! The port table of a namespace: who is bound where, which ports are free, which connections are open.
//!
//! A sorted vector: pods have few ports, and 100,000 idle pods must cost little.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use crate::kernel::KernelSide;
use crate::listener::Backlog;
use crate::namespace::BindError;
use crate::services::Protocol;
use crate::stream::Handle;
use crate::udp::Inbox;
use crate::uplink::{Holder, PortKind};

/// The ports that are picked for clients and for binding to port 0, as Linux has them.
const EPHEMERAL_FIRST: u16 = 32_768;
const EPHEMERAL_LAST: u16 = 60_999;

/// How many sockets a namespace binds at most.
pub(crate) const SOCKETS_BOUND_MAX: usize = 16_384;

/// Forgotten connections are swept out when the list has doubled since the last time, and not below this.
const CONNECTIONS_SWEEP_MIN: usize = 32;

/// A bound socket.
#[derive(Clone)]
pub(crate) enum Socket {
    Tcp(Arc<Backlog>),
    Http(Arc<Backlog>),
    Udp(Arc<Inbox>),
    /// A TCP port that another process listens on.
    Held(Arc<dyn Holder>),
}

struct Binding {
    on: SocketAddr,
    socket: Socket,
}

/// How far a namespace is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    ListenersClosed,
    Closed,
}

#[derive(Default)]
pub(crate) struct Ports {
    pub(crate) phase: Phase,
    /// Who has what is not bound here, where the pod has Linux containers.
    pub(crate) kernel: Option<Arc<dyn KernelSide>>,
    /// The process that holds the pod's sockets, where that is another.
    pub(crate) holder: Option<Weak<dyn Holder>>,
    bindings: Vec<Binding>,
    connections: Vec<Handle>,
    sweep_at: usize,
    ephemeral: u16,
}

impl Socket {
    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::Tcp(_) | Self::Http(_) | Self::Held(_) => Protocol::Tcp,
            Self::Udp(_) => Protocol::Udp,
        }
    }

    pub(crate) const fn kind(&self) -> PortKind {
        match self {
            Self::Tcp(_) | Self::Held(_) => PortKind::Tcp,
            Self::Http(_) => PortKind::Http,
            Self::Udp(_) => PortKind::Udp,
        }
    }

    pub(crate) const fn backlog(&self) -> Option<&Arc<Backlog>> {
        match self {
            Self::Tcp(backlog) | Self::Http(backlog) => Some(backlog),
            Self::Udp(_) | Self::Held(_) => None,
        }
    }

    pub(crate) fn is_inbox(&self, inbox: &Arc<Inbox>) -> bool {
        matches!(self, Self::Udp(own) if Arc::ptr_eq(own, inbox))
    }

    pub(crate) fn is_backlog(&self, backlog: &Arc<Backlog>) -> bool {
        self.backlog().is_some_and(|own| Arc::ptr_eq(own, backlog))
    }
}

impl Binding {
    fn order(&self) -> (Protocol, u16) {
        (self.socket.protocol(), self.on.port())
    }

    fn covers(&self, ip: IpAddr) -> bool {
        self.on.ip().is_unspecified() || self.on.ip() == ip
    }
}

impl Ports {
    /// Binds `socket` to an address that the caller has found to be local; port 0 picks one. Returns what was bound.
    pub(crate) fn bind(&mut self, on: SocketAddr, socket: Socket) -> Result<SocketAddr, BindError> {
        let protocol = socket.protocol();
        if self.phase == Phase::Closed || (self.phase == Phase::ListenersClosed && protocol == Protocol::Tcp) {
            return Err(BindError::Closed);
        }
        if self.bindings.len() >= SOCKETS_BOUND_MAX {
            return Err(BindError::InUse);
        }
        let on = SocketAddr::new(on.ip(), self.port_for(protocol, on)?);
        let at = self.bindings.partition_point(|binding| binding.order() <= (protocol, on.port()));
        if self.bindings.is_empty() {
            // Most pods listen on one port, and a vector would begin with room for four.
            self.bindings.reserve_exact(1);
        }
        self.bindings.insert(at, Binding { on, socket });
        Ok(on)
    }

    /// Who is bound to this very address.
    pub(crate) fn find(&self, protocol: Protocol, at: SocketAddr) -> Option<&Socket> {
        let mut candidates = self.on_port(protocol, at.port());
        candidates.find(|binding| binding.covers(at.ip())).map(|binding| &binding.socket)
    }

    /// All that is bound.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> {
        self.bindings.iter().map(|binding| (binding.socket.protocol(), binding.on))
    }

    /// Takes out the bindings that `which` picks.
    pub(crate) fn unbind(&mut self, which: impl Fn(SocketAddr, &Socket) -> bool) -> Vec<(SocketAddr, Socket)> {
        let gone = self.bindings.extract_if(.., |binding| which(binding.on, &binding.socket));
        gone.map(|binding| (binding.on, binding.socket)).collect()
    }

    /// A port for a client's end of a connection.
    pub(crate) fn ephemeral(&mut self) -> u16 {
        self.ephemeral = match self.ephemeral {
            last if last >= EPHEMERAL_LAST => EPHEMERAL_FIRST,
            0 => EPHEMERAL_FIRST,
            last => last + 1,
        };
        self.ephemeral
    }

    /// Remembers a connection, to be aborted with the namespace.
    pub(crate) fn remember(&mut self, connection: Handle) {
        if self.connections.len() >= self.sweep_at.max(CONNECTIONS_SWEEP_MIN) {
            self.connections.retain(|connection| !connection.is_gone());
            self.sweep_at = self.connections.len() * 2;
        }
        self.connections.push(connection);
    }

    /// All connections, forgotten here.
    pub(crate) fn take_connections(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.connections)
    }

    fn port_for(&mut self, protocol: Protocol, on: SocketAddr) -> Result<u16, BindError> {
        if on.port() != 0 {
            let free = self.is_free(protocol, on);
            return if free { Ok(on.port()) } else { Err(BindError::InUse) };
        }
        for _ in EPHEMERAL_FIRST..=EPHEMERAL_LAST {
            let port = self.ephemeral();
            if self.is_free(protocol, SocketAddr::new(on.ip(), port)) {
                return Ok(port);
            }
        }
        Err(BindError::InUse)
    }

    fn is_free(&self, protocol: Protocol, on: SocketAddr) -> bool {
        !self.on_port(protocol, on.port()).any(|binding| on.ip().is_unspecified() || binding.covers(on.ip()))
    }

    fn on_port(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = &Binding> {
        let first = self.bindings.partition_point(|binding| binding.order() < (protocol, port));
        self.bindings.iter().skip(first).take_while(move |binding| binding.order() == (protocol, port))
    }
}
