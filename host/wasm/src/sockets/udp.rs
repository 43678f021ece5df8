//! UDP sockets: bound in the pod's network. What both versions of `wasi:sockets` share; `udp2` and `udp3` are their faces.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wherry_vnet::{Datagram, Namespace, UdpSocket};

use super::streams::lock;
use super::{any, bind_code, io_code, to_virtual};

/// The largest payload of a datagram over IPv4.
pub(super) const PAYLOAD_BYTES_MAX: usize = 65_507;

/// A guest's UDP socket.
pub struct VUdp {
    pub(super) family: IpAddressFamily,
    socket: Option<Arc<Mutex<UdpSocket>>>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) hop_limit: u8,
}

/// A bound socket, and whom it is connected to.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) socket: Arc<Mutex<UdpSocket>>,
    pub(super) peer: Option<SocketAddr>,
}

impl VUdp {
    pub(super) const fn new(family: IpAddressFamily) -> Self {
        Self { family, socket: None, peer: None, hop_limit: 64 }
    }

    pub(super) async fn bind(&mut self, net: &Arc<Namespace>, on: SocketAddr) -> Result<(), ErrorCode> {
        if self.socket.is_some() {
            return Err(ErrorCode::InvalidState);
        }
        let bound = net.bind_udp(to_virtual(on)).map_err(bind_code)?.settled().await.map_err(bind_code)?;
        self.socket = Some(Arc::new(Mutex::new(bound)));
        Ok(())
    }

    pub(super) fn bound(&self) -> Result<Bound, ErrorCode> {
        let socket = self.socket.clone().ok_or(ErrorCode::InvalidState)?;
        Ok(Bound { socket, peer: self.peer })
    }

    /// The same, on a port that is picked where none was asked for.
    pub(super) fn bound_somewhere(&mut self, net: &Arc<Namespace>) -> Result<Bound, ErrorCode> {
        if self.socket.is_none() {
            let bound = net.bind_udp(to_virtual(any(self.family))).map_err(bind_code)?;
            self.socket = Some(Arc::new(Mutex::new(bound)));
        }
        self.bound()
    }

    pub(super) fn local(&self) -> Result<SocketAddr, ErrorCode> {
        Ok(lock(&self.bound()?.socket).local())
    }
}

impl Bound {
    /// The next datagram that is here; a connected socket hears its peer only.
    pub(super) fn receive(&self) -> Option<Datagram> {
        let mut socket = lock(&self.socket);
        loop {
            let datagram = socket.try_receive()?;
            if self.peer.is_none_or(|peer| peer == datagram.from) {
                return Some(datagram);
            }
        }
    }

    /// Sends to the peer, or to whom the guest names.
    pub(super) fn send(&self, payload: Bytes, to: Option<SocketAddr>) -> Result<(), ErrorCode> {
        let to = to.or(self.peer).ok_or(ErrorCode::InvalidArgument)?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ErrorCode::DatagramTooLarge);
        }
        match lock(&self.socket).send_to(payload, to) {
            Ok(()) => Ok(()),
            // As in a kernel, only a connected socket hears that nobody listens: a server outlives its clients.
            Err(error) if self.peer.is_none() && error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(io_code(&error)),
        }
    }
}
