//! The part of a pod's network that the kernel has: Linux containers live there, modules live here, and each sees the
//! other's ports on localhost and on the pod's address as its own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use bytes::Bytes;

use crate::dial::DialError;
use crate::namespace::BindError;
use crate::services::Protocol;
use crate::stream::Stream;

/// A pod's network namespace in the kernel. What it has for modules it gives to [`accept`](crate::Namespace::accept) and
/// [`receive`](crate::Namespace::receive); the calls without `async` never wait for a peer.
#[async_trait]
pub trait KernelSide: Send + Sync + 'static {
    /// Connects a module of the pod to a listener of a container, at localhost or the pod's address. The result is a
    /// connected stream socket.
    async fn connect(&self, to: SocketAddr) -> Result<OwnedFd, DialError>;

    /// Joins a connection of somebody else to a listener of a container, until it ends: `connection` is the far end, whose
    /// `local` address was dialed and whose `peer` is the client, as the container sees it. Resolves as soon as the
    /// container has taken it, or has not.
    async fn carry(&self, connection: Stream) -> Result<(), DialError>;

    /// Sends a datagram to a container's socket. One that does not fit is dropped, as UDP may.
    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()>;

    /// A module takes a port: no container can have it from now on, and what containers send there is the module's. Once
    /// more for the same port does no harm.
    fn bind(&self, protocol: Protocol, at: SocketAddr) -> Result<(), BindError>;

    /// A module gives a port back: it is free when this returns.
    fn unbind(&self, protocol: Protocol, at: SocketAddr);

    /// The pod's network is closed. Called once at least.
    fn close(&self);
}

#[cfg(test)]
mod tests;
