//! UDP sockets: bound in the pod's network, with a pair of datagram streams.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError};
use wherry_vnet::{Datagram, UdpSocket};

use super::bindings::udp::{
    Host, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram, OutgoingDatagram,
};
use super::bindings::udp_create_socket;
use super::streams::lock;
use super::{NetView, bind_code, io_code};

type SocketResult<T> = Result<T, SocketError>;

/// How many datagrams one call takes or gives.
const DATAGRAMS_TOGETHER_MAX: u64 = 16;
/// The largest payload of a datagram over IPv4.
const PAYLOAD_BYTES_MAX: usize = 65_507;

/// A guest's UDP socket.
pub struct VUdp {
    family: IpAddressFamily,
    socket: Option<Arc<Mutex<UdpSocket>>>,
    peer: Option<SocketAddr>,
    hop_limit: u8,
}

/// What arrives.
pub struct VIncoming {
    socket: Arc<Mutex<UdpSocket>>,
    peer: Option<SocketAddr>,
}

/// What is sent.
pub struct VOutgoing {
    socket: Arc<Mutex<UdpSocket>>,
    peer: Option<SocketAddr>,
}

impl udp_create_socket::Host for NetView<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<VUdp>> {
        Ok(self.table.push(VUdp { family, socket: None, peer: None, hop_limit: 64 })?)
    }
}

impl Host for NetView<'_> {}

impl HostUdpSocket for NetView<'_> {
    fn start_bind(
        &mut self,
        this: Resource<VUdp>,
        _network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let own = self.table.get_mut(&this)?;
        if own.socket.is_some() {
            return Err(ErrorCode::InvalidState.into());
        }
        let mut address: SocketAddr = local_address.into();
        if address.is_ipv6() && address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        let bound = self.net.bind_udp(address).map_err(bind_code)?;
        own.socket = Some(Arc::new(Mutex::new(bound)));
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<VUdp>) -> SocketResult<()> {
        self.table.get(&this)?.bound().map(|_| ()).map_err(|_| ErrorCode::NotInProgress.into())
    }

    fn stream(
        &mut self,
        this: Resource<VUdp>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<VIncoming>, Resource<VOutgoing>)> {
        let own = self.table.get_mut(&this)?;
        let peer: Option<SocketAddr> = remote_address.map(Into::into);
        own.peer = peer;
        let socket = own.bound()?;
        let incoming = self.table.push_child(VIncoming { socket: Arc::clone(&socket), peer }, &this)?;
        let outgoing = self.table.push_child(VOutgoing { socket, peer }, &this)?;
        Ok((incoming, outgoing))
    }

    fn local_address(&mut self, this: Resource<VUdp>) -> SocketResult<IpSocketAddress> {
        let socket = self.table.get(&this)?.bound()?;
        let local = lock(&socket).local();
        Ok(local.into())
    }

    fn remote_address(&mut self, this: Resource<VUdp>) -> SocketResult<IpSocketAddress> {
        let peer = self.table.get(&this)?.peer.ok_or(ErrorCode::InvalidState)?;
        Ok(peer.into())
    }

    fn address_family(&mut self, this: Resource<VUdp>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn unicast_hop_limit(&mut self, this: Resource<VUdp>) -> SocketResult<u8> {
        Ok(self.table.get(&this)?.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<VUdp>, value: u8) -> SocketResult<()> {
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        self.table.get_mut(&this)?.hop_limit = value;
        Ok(())
    }

    fn receive_buffer_size(&mut self, this: Resource<VUdp>) -> SocketResult<u64> {
        self.table.get(&this)?;
        Ok(PAYLOAD_BYTES_MAX as u64)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<VUdp>, _: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, this: Resource<VUdp>) -> SocketResult<u64> {
        self.table.get(&this)?;
        Ok(PAYLOAD_BYTES_MAX as u64)
    }

    fn set_send_buffer_size(&mut self, this: Resource<VUdp>, _: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        Ok(())
    }

    fn subscribe(&mut self, this: Resource<VUdp>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi_io::poll::subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<VUdp>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl VUdp {
    fn bound(&self) -> Result<Arc<Mutex<UdpSocket>>, ErrorCode> {
        self.socket.clone().ok_or(ErrorCode::InvalidState)
    }
}

#[async_trait]
impl Pollable for VUdp {
    async fn ready(&mut self) {}
}

impl HostIncomingDatagramStream for NetView<'_> {
    fn receive(&mut self, this: Resource<VIncoming>, max_results: u64) -> SocketResult<Vec<IncomingDatagram>> {
        let VIncoming { socket, peer } = self.table.get(&this)?;
        let mut socket = lock(socket);
        let mut found = Vec::new();
        while (found.len() as u64) < max_results.min(DATAGRAMS_TOGETHER_MAX) {
            let Some(Datagram { from, payload }) = socket.try_receive() else { break };
            // A connected socket hears its peer only.
            if peer.is_none_or(|peer| peer == from) {
                found.push(IncomingDatagram { data: payload.into(), remote_address: from.into() });
            }
        }
        Ok(found)
    }

    fn subscribe(&mut self, this: Resource<VIncoming>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi_io::poll::subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<VIncoming>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for VIncoming {
    async fn ready(&mut self) {
        poll_fn(|cx| lock(&self.socket).poll_receivable(cx)).await;
    }
}

impl HostOutgoingDatagramStream for NetView<'_> {
    fn check_send(&mut self, this: Resource<VOutgoing>) -> SocketResult<u64> {
        self.table.get(&this)?;
        Ok(DATAGRAMS_TOGETHER_MAX)
    }

    fn send(&mut self, this: Resource<VOutgoing>, datagrams: Vec<OutgoingDatagram>) -> SocketResult<u64> {
        let VOutgoing { socket, peer } = self.table.get(&this)?;
        let socket = lock(socket);
        let mut sent = 0;
        for datagram in datagrams {
            let to = datagram.remote_address.map(SocketAddr::from).or(*peer).ok_or(ErrorCode::InvalidArgument)?;
            if datagram.data.len() > PAYLOAD_BYTES_MAX {
                return Err(ErrorCode::DatagramTooLarge.into());
            }
            match socket.send_to(datagram.data.into(), to) {
                Ok(()) => sent += 1,
                // As in a kernel, only a connected socket hears that nobody listens: a server outlives its clients.
                Err(error) if peer.is_none() && error.kind() == ErrorKind::ConnectionRefused => sent += 1,
                Err(_) if sent > 0 => break,
                Err(error) => return Err(io_code(&error).into()),
            }
        }
        Ok(sent)
    }

    fn subscribe(&mut self, this: Resource<VOutgoing>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi_io::poll::subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<VOutgoing>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for VOutgoing {
    async fn ready(&mut self) {}
}
