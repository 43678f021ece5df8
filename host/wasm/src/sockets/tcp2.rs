//! `wasi:sockets/tcp@0.2`: calls that start and finish, and streams that are polled.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, SocketError};

use super::NetView;
use super::bindings::tcp::{Host, HostTcpSocket, ShutdownType};
use super::bindings::tcp_create_socket;
use super::tcp::{VTcp, positive};

type SocketResult<T> = Result<T, SocketError>;

#[async_trait]
impl Pollable for VTcp {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

impl tcp_create_socket::Host for NetView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<VTcp>> {
        Ok(self.table.push(VTcp::new(family))?)
    }
}

impl Host for NetView<'_> {}

impl HostTcpSocket for NetView<'_> {
    async fn start_bind(
        &mut self,
        this: Resource<VTcp>,
        _network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        Ok(self.table.get_mut(&this)?.bind(self.net, self.stopping, local_address.into()).await?)
    }

    fn finish_bind(&mut self, this: Resource<VTcp>) -> SocketResult<()> {
        if self.table.get(&this)?.is_bound() { Ok(()) } else { Err(ErrorCode::NotInProgress.into()) }
    }

    fn start_connect(
        &mut self,
        this: Resource<VTcp>,
        _network: Resource<Network>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        Ok(self.table.get_mut(&this)?.start_connect(self.net, remote_address.into())?)
    }

    fn finish_connect(
        &mut self,
        this: Resource<VTcp>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        match self.table.get_mut(&this)?.poll_connected(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(Err(code)) => Err(code.into()),
            Poll::Ready(Ok(())) => self.push_streams(&this),
        }
    }

    fn start_listen(&mut self, this: Resource<VTcp>) -> SocketResult<()> {
        Ok(self.table.get_mut(&this)?.listen()?)
    }

    fn finish_listen(&mut self, this: Resource<VTcp>) -> SocketResult<()> {
        if self.table.get(&this)?.is_listening() { Ok(()) } else { Err(ErrorCode::NotInProgress.into()) }
    }

    fn accept(
        &mut self,
        this: Resource<VTcp>,
    ) -> SocketResult<(Resource<VTcp>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let accepted = self.table.get_mut(&this)?.accept()?;
        let accepted = self.table.push(accepted)?;
        let (input, output) = self.push_streams(&accepted)?;
        Ok((accepted, input, output))
    }

    fn local_address(&mut self, this: Resource<VTcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&this)?.local().ok_or(ErrorCode::InvalidState)?.into())
    }

    fn remote_address(&mut self, this: Resource<VTcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&this)?.peer().ok_or(ErrorCode::InvalidState)?.into())
    }

    fn is_listening(&mut self, this: Resource<VTcp>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.is_listening())
    }

    fn address_family(&mut self, this: Resource<VTcp>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn set_listen_backlog_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        Ok(positive(value).map(drop)?)
    }

    fn keep_alive_enabled(&mut self, this: Resource<VTcp>) -> SocketResult<bool> {
        Ok(self.table.get(&this)?.options.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<VTcp>, value: bool) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.keep_alive = value;
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.table.get(&this)?.options.keep_alive_idle_nanos)
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.keep_alive_idle_nanos = positive(value)?;
        Ok(())
    }

    fn keep_alive_interval(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.table.get(&this)?.options.keep_alive_interval_nanos)
    }

    fn set_keep_alive_interval(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.keep_alive_interval_nanos = positive(value)?;
        Ok(())
    }

    fn keep_alive_count(&mut self, this: Resource<VTcp>) -> SocketResult<u32> {
        Ok(self.table.get(&this)?.options.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, this: Resource<VTcp>, value: u32) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.keep_alive_count = positive(value)?;
        Ok(())
    }

    fn hop_limit(&mut self, this: Resource<VTcp>) -> SocketResult<u8> {
        Ok(self.table.get(&this)?.options.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Resource<VTcp>, value: u8) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.hop_limit = positive(value)?;
        Ok(())
    }

    fn receive_buffer_size(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.table.get(&this)?.options.receive_buffer_bytes)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.receive_buffer_bytes = positive(value)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.table.get(&this)?.options.send_buffer_bytes)
    }

    fn set_send_buffer_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.table.get_mut(&this)?.options.send_buffer_bytes = positive(value)?;
        Ok(())
    }

    fn subscribe(&mut self, this: Resource<VTcp>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi_io::poll::subscribe(self.table, this)
    }

    fn shutdown(&mut self, this: Resource<VTcp>, kind: ShutdownType) -> SocketResult<()> {
        let socket = self.table.get(&this)?;
        socket.peer().ok_or(ErrorCode::InvalidState)?;
        if matches!(kind, ShutdownType::Send | ShutdownType::Both) {
            drop(socket.take_writer());
        }
        if matches!(kind, ShutdownType::Receive | ShutdownType::Both) {
            drop(socket.take_reader());
        }
        Ok(())
    }

    fn drop(&mut self, this: Resource<VTcp>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl NetView<'_> {
    fn push_streams(
        &mut self,
        socket: &Resource<VTcp>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let (reader, writer) = self.table.get(socket)?.streams()?;
        let input = self.table.push_child(Box::new(reader) as DynInputStream, socket)?;
        let output = self.table.push_child(Box::new(writer) as DynOutputStream, socket)?;
        Ok((input, output))
    }
}
