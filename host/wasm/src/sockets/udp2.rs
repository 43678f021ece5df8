//! `wasi:sockets/udp@0.2`: a pair of datagram streams that are polled.

use std::future::poll_fn;
use std::net::SocketAddr;

use async_trait::async_trait;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError};
use wherry_vnet::Datagram;

use super::NetView;
use super::bindings::udp::{
    Host, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram, OutgoingDatagram,
};
use super::bindings::udp_create_socket;
use super::streams::lock;
use super::tcp::positive;
use super::udp::{Bound, PAYLOAD_BYTES_MAX, VUdp};

type SocketResult<T> = Result<T, SocketError>;

/// How many datagrams one call takes or gives.
const DATAGRAMS_TOGETHER_MAX: u64 = 16;

/// What arrives.
pub struct VIncoming(Bound);

/// What is sent.
pub struct VOutgoing(Bound);

impl udp_create_socket::Host for NetView<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<VUdp>> {
        Ok(self.table.push(VUdp::new(family))?)
    }
}

impl Host for NetView<'_> {}

impl HostUdpSocket for NetView<'_> {
    async fn start_bind(
        &mut self,
        this: Resource<VUdp>,
        _network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        Ok(self.table.get_mut(&this)?.bind(self.net, local_address.into()).await?)
    }

    fn finish_bind(&mut self, this: Resource<VUdp>) -> SocketResult<()> {
        self.table.get(&this)?.bound().map(drop).map_err(|_| ErrorCode::NotInProgress.into())
    }

    fn stream(
        &mut self,
        this: Resource<VUdp>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<VIncoming>, Resource<VOutgoing>)> {
        let own = self.table.get_mut(&this)?;
        own.peer = remote_address.map(Into::into);
        let bound = own.bound()?;
        let incoming = self.table.push_child(VIncoming(bound.clone()), &this)?;
        let outgoing = self.table.push_child(VOutgoing(bound), &this)?;
        Ok((incoming, outgoing))
    }

    fn local_address(&mut self, this: Resource<VUdp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&this)?.local()?.into())
    }

    fn remote_address(&mut self, this: Resource<VUdp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&this)?.peer.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn address_family(&mut self, this: Resource<VUdp>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn unicast_hop_limit(&mut self, this: Resource<VUdp>) -> SocketResult<u8> {
        Ok(self.table.get(&this)?.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<VUdp>, value: u8) -> SocketResult<()> {
        self.table.get_mut(&this)?.hop_limit = positive(value)?;
        Ok(())
    }

    fn receive_buffer_size(&mut self, this: Resource<VUdp>) -> SocketResult<u64> {
        self.table.get(&this)?;
        Ok(PAYLOAD_BYTES_MAX as u64)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<VUdp>, value: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        Ok(positive(value).map(drop)?)
    }

    fn send_buffer_size(&mut self, this: Resource<VUdp>) -> SocketResult<u64> {
        self.table.get(&this)?;
        Ok(PAYLOAD_BYTES_MAX as u64)
    }

    fn set_send_buffer_size(&mut self, this: Resource<VUdp>, value: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        Ok(positive(value).map(drop)?)
    }

    fn subscribe(&mut self, this: Resource<VUdp>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi_io::poll::subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<VUdp>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for VUdp {
    async fn ready(&mut self) {}
}

impl HostIncomingDatagramStream for NetView<'_> {
    fn receive(&mut self, this: Resource<VIncoming>, max_results: u64) -> SocketResult<Vec<IncomingDatagram>> {
        let VIncoming(bound) = self.table.get(&this)?;
        let mut found = Vec::new();
        while (found.len() as u64) < max_results.min(DATAGRAMS_TOGETHER_MAX) {
            let Some(Datagram { from, payload }) = bound.receive() else { break };
            found.push(IncomingDatagram { data: payload.into(), remote_address: from.into() });
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
        poll_fn(|cx| lock(&self.0.socket).poll_receivable(cx)).await;
    }
}

impl HostOutgoingDatagramStream for NetView<'_> {
    fn check_send(&mut self, this: Resource<VOutgoing>) -> SocketResult<u64> {
        self.table.get(&this)?;
        Ok(DATAGRAMS_TOGETHER_MAX)
    }

    fn send(&mut self, this: Resource<VOutgoing>, datagrams: Vec<OutgoingDatagram>) -> SocketResult<u64> {
        let VOutgoing(bound) = self.table.get(&this)?;
        let mut sent = 0;
        for datagram in datagrams {
            match bound.send(datagram.data.into(), datagram.remote_address.map(SocketAddr::from)) {
                Ok(()) => sent += 1,
                // What was sent is told first; the next call fails by itself.
                Err(_) if sent > 0 => break,
                Err(code) => return Err(code.into()),
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
