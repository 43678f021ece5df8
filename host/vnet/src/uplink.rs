//! What a network asks of another process: a sandbox holds its pods' sockets and guests, the node's agent knows Services,
//! other pods and the world. A connection between them crosses as a passed socket, so that no process copies its bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use bytes::Bytes;

use crate::dial::DialError;
use crate::services::Resolution;

/// How a connection that another process was asked for came about.
#[derive(Debug)]
pub enum Way {
    /// Over this socket.
    Socket {
        /// A connected stream socket, Unix or TCP.
        socket: OwnedFd,
        /// The client's address.
        local: SocketAddr,
        /// The address that was dialed.
        peer: SocketAddr,
    },
    /// It leads to this address of a pod that the asking process holds itself: dial it there.
    Here(SocketAddr),
}

/// What a bound port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Connections.
    Tcp,
    /// Connections, and requests by its handler.
    Http,
    /// Datagrams.
    Udp,
}

/// A sandbox's way to all that is outside of it. `pod` is the address of the pod that asks.
#[async_trait]
pub trait Uplink: Send + Sync + 'static {
    /// Connects to a Service, a pod elsewhere, the world, or a container of the pod itself.
    async fn connect(&self, pod: IpAddr, to: SocketAddr) -> Result<Way, DialError>;

    /// What a name means to the pod.
    async fn resolve(&self, pod: IpAddr, name: &str) -> Result<Vec<IpAddr>, Resolution>;

    /// A port was bound, or given back, at localhost, the pod's address, or the unspecified one, which is both.
    fn bound(&self, pod: IpAddr, kind: PortKind, at: SocketAddr, is_bound: bool);

    /// Whether the pod has Linux containers, of which one may have a port.
    fn is_mixed(&self, pod: IpAddr) -> bool;

    /// Resolves when the node has dealt with all that it was told of ports, or does not in time.
    async fn heard(&self, pod: IpAddr);

    /// Sends a datagram from the pod's port that is bound at `from`. One that does not fit is dropped, as UDP may.
    fn send(&self, pod: IpAddr, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()>;
}

/// A process that holds the sockets of pods, as the node sees it.
pub trait Holder: Send + Sync + 'static {
    /// Hands over the server's end of a connection to a port of the pod that it announced.
    fn accept(&self, pod: IpAddr, from: SocketAddr, to: SocketAddr, socket: OwnedFd) -> Result<(), DialError>;

    /// The pod has Linux containers from now on.
    fn mixed(&self, pod: IpAddr);
}
