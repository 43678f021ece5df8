//! Datagrams in memory: a bounded queue a socket; what does not fit is dropped, as UDP may.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;

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
}

impl UdpSocket {
    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes a datagram without waiting.
    pub fn try_receive(&mut self) -> Option<Datagram> {
        None
    }

    /// Ready when `try_receive` would give one.
    pub fn poll_receivable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        Poll::Pending
    }

    /// Sends a datagram; Services are translated, a denied destination is `PermissionDenied`.
    pub fn send_to(&self, payload: Bytes, to: SocketAddr) -> std::io::Result<()> {
        let _ = (payload, to);
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
