//! `wasi:sockets/types.udp-socket@0.3`: the same sockets, with asynchronous calls.

use std::future::poll_fn;
use std::net::SocketAddr;

use wasmtime::component::{Accessor, Resource};

use super::streams::lock;
use super::tcp::positive;
use super::udp::{PAYLOAD_BYTES_MAX, VUdp};
use super::version3::types::{ErrorCode, HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress};
use super::version3::{SocketError, code, family2, family3};
use super::{HasNet, NetView, NetworkView};

type SocketResult<T> = Result<T, SocketError>;

impl<T: NetworkView> HostUdpSocketWithStore<T> for HasNet {
    async fn send(
        store: &Accessor<T, Self>,
        this: Resource<VUdp>,
        data: Vec<u8>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        let bound = store.with(|mut access| {
            let mut view = access.get();
            let net = view.net;
            view.udp(&this)?.bound_somewhere(net).map_err(code)
        })?;
        bound.send(data.into(), remote_address.map(SocketAddr::from)).map_err(code)
    }

    async fn receive(store: &Accessor<T, Self>, this: Resource<VUdp>) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        let bound = store.with(|mut access| access.get().udp(&this)?.bound().map_err(code))?;
        loop {
            poll_fn(|context| lock(&bound.socket).poll_receivable(context)).await;
            if let Some(datagram) = bound.receive() {
                return Ok((datagram.payload.into(), datagram.from.into()));
            }
        }
    }
}

impl HostUdpSocket for NetView<'_> {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<VUdp>> {
        self.table.push(VUdp::new(family2(family))).map_err(SocketError::trap)
    }

    async fn bind(&mut self, this: Resource<VUdp>, local_address: IpSocketAddress) -> SocketResult<()> {
        let net = self.net;
        self.udp(&this)?.bind(net, local_address.into()).await.map_err(code)
    }

    fn connect(&mut self, this: Resource<VUdp>, remote_address: IpSocketAddress) -> SocketResult<()> {
        let net = self.net;
        let socket = self.udp(&this)?;
        socket.bound_somewhere(net).map_err(code)?;
        socket.peer = Some(remote_address.into());
        Ok(())
    }

    fn disconnect(&mut self, this: Resource<VUdp>) -> SocketResult<()> {
        let peer = self.udp(&this)?.peer.take();
        peer.map(drop).ok_or_else(|| ErrorCode::InvalidState.into())
    }

    fn get_local_address(&mut self, this: Resource<VUdp>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&this)?.local().map_err(code)?.into())
    }

    fn get_remote_address(&mut self, this: Resource<VUdp>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&this)?.peer.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn get_address_family(&mut self, this: Resource<VUdp>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family3(self.table.get(&this)?.family))
    }

    fn get_unicast_hop_limit(&mut self, this: Resource<VUdp>) -> SocketResult<u8> {
        Ok(self.udp(&this)?.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<VUdp>, value: u8) -> SocketResult<()> {
        self.udp(&this)?.hop_limit = positive(value).map_err(code)?;
        Ok(())
    }

    fn get_receive_buffer_size(&mut self, this: Resource<VUdp>) -> SocketResult<u64> {
        self.udp(&this)?;
        Ok(PAYLOAD_BYTES_MAX as u64)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<VUdp>, value: u64) -> SocketResult<()> {
        self.udp(&this)?;
        positive(value).map(drop).map_err(code)
    }

    fn get_send_buffer_size(&mut self, this: Resource<VUdp>) -> SocketResult<u64> {
        self.udp(&this)?;
        Ok(PAYLOAD_BYTES_MAX as u64)
    }

    fn set_send_buffer_size(&mut self, this: Resource<VUdp>, value: u64) -> SocketResult<()> {
        self.udp(&this)?;
        positive(value).map(drop).map_err(code)
    }

    fn drop(&mut self, this: Resource<VUdp>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl NetView<'_> {
    fn udp(&mut self, this: &Resource<VUdp>) -> SocketResult<&mut VUdp> {
        self.table.get_mut(this).map_err(SocketError::trap)
    }
}
