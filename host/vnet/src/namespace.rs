//! A pod's network namespace: its address, its localhost, its ports, its names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::dial::DialError;
use crate::http::HttpHandler;
use crate::services::Resolution;
use crate::stream::Stream;
use crate::udp::UdpSocket;

/// The network of one pod, shared by its containers. Its address returns to the pool when `close` is called or the
/// last clone of the `Arc` goes.
pub struct Namespace {
    address: IpAddr,
}

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

/// A listening port. Unbinds when dropped.
#[derive(Debug)]
pub struct Listener {
    local: SocketAddr,
}

impl Listener {
    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes a waiting connection. `None`: nobody waits. An error: the listener was closed, as at a pod's end.
    pub fn try_accept(&mut self) -> Result<Option<Stream>, BindError> {
        Ok(None)
    }

    /// Ready when `try_accept` would not give `Ok(None)`.
    pub fn poll_acceptable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        Poll::Pending
    }

    /// Waits for a connection; `None` once the listener was closed.
    pub async fn accept(&mut self) -> Option<Stream> {
        std::future::pending().await
    }
}

impl Namespace {
    /// The pod's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Listens on a port; port 0 picks a free one. The unspecified address covers localhost and the pod's address.
    pub fn listen(self: &Arc<Self>, on: SocketAddr) -> Result<Listener, BindError> {
        let _ = on;
        Err(BindError::Closed)
    }

    /// Serves a port by a handler as well as by the returned listener: the ingress on this node calls the handler,
    /// everybody else connects to the listener, and the caller speaks HTTP/1.1 over what it accepts.
    pub fn listen_http(self: &Arc<Self>, port: u16, handler: Arc<dyn HttpHandler>) -> Result<Listener, BindError> {
        let _ = (port, handler);
        Err(BindError::Closed)
    }

    /// Binds a UDP port; port 0 picks a free one.
    pub fn bind_udp(self: &Arc<Self>, on: SocketAddr) -> Result<UdpSocket, BindError> {
        let _ = on;
        Err(BindError::Closed)
    }

    /// Connects to localhost, a pod, a Service, or (where egress is allowed) the world.
    pub async fn connect(self: &Arc<Self>, to: SocketAddr) -> Result<Stream, DialError> {
        let _ = to;
        Err(DialError::Refused)
    }

    /// What a name means here: `localhost`, the pod's own name, Services; the world's names only with egress.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Resolution> {
        let _ = name;
        Err(Resolution::Missing)
    }

    /// Closes the listeners and refuses new ones: connections in progress go on. A pod's SIGTERM.
    pub fn close_listeners(&self) {}

    /// Closes everything and gives back the address.
    pub fn close(&self) {}
}
