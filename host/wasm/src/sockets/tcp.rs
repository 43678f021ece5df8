//! TCP sockets: bound, listening, connecting or connected in the pod's network.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, SocketError};
use wherry_vnet::{DialError, Listener, ReadHalf, Stream, WriteHalf};

use super::bindings::tcp::{Host, HostTcpSocket, ShutdownType};
use super::bindings::tcp_create_socket;
use super::streams::{Shared, VReader, VWriter, lock};
use super::{NetView, bind_code, dial_code};

type SocketResult<T> = Result<T, SocketError>;
/// Resolves when the container is asked to stop.
type Stopped = Pin<Box<WaitForCancellationFutureOwned>>;
type Dialing = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

/// A guest's TCP socket.
pub struct VTcp {
    family: IpAddressFamily,
    state: State,
    /// What a guest may read back; the virtual network itself needs no tuning.
    options: Options,
}

enum State {
    Unbound,
    /// The port is taken from here on; `listening` says whether the guest asked to.
    Bound {
        listener: Listener,
        listening: bool,
        stopped: Stopped,
    },
    Connecting(Dialing),
    Dialed(Result<Stream, DialError>),
    Connected(Connected),
    Closed,
}

struct Connected {
    local: SocketAddr,
    peer: SocketAddr,
    reader: Shared<ReadHalf>,
    writer: Shared<WriteHalf>,
}

struct Options {
    keep_alive: bool,
    keep_alive_idle_nanos: u64,
    keep_alive_interval_nanos: u64,
    keep_alive_count: u32,
    hop_limit: u8,
    receive_buffer_bytes: u64,
    send_buffer_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        const BUFFER: u64 = wherry_vnet::STREAM_BUFFER_BYTES_MAX as u64;
        Self {
            keep_alive: false,
            keep_alive_idle_nanos: 7_200_000_000_000,
            keep_alive_interval_nanos: 75_000_000_000,
            keep_alive_count: 9,
            hop_limit: 64,
            receive_buffer_bytes: BUFFER,
            send_buffer_bytes: BUFFER,
        }
    }
}

impl VTcp {
    fn new(family: IpAddressFamily) -> Self {
        Self { family, state: State::Unbound, options: Options::default() }
    }

    /// A connected socket, and the two ends of its streams.
    fn connected(family: IpAddressFamily, stream: Stream) -> (Self, VReader, VWriter) {
        let Stream { reader, writer, local, peer } = stream;
        let (reader, writer) = (Arc::new(Mutex::new(Some(reader))), Arc::new(Mutex::new(Some(writer))));
        let ends = (VReader(Arc::clone(&reader)), VWriter(Arc::clone(&writer)));
        let state = State::Connected(Connected { local, peer, reader, writer });
        (Self { family, state, options: Options::default() }, ends.0, ends.1)
    }

    /// Drives the dialing, if there is any.
    fn poll_dialed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Connecting(dialing) = &mut self.state {
            match dialing.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => self.state = State::Dialed(outcome),
            }
        }
        Poll::Ready(())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Bound { listener, listening: true, stopped } => match stopped.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => listener.poll_acceptable(context),
            },
            State::Connecting(_) => self.poll_dialed(context),
            _ => Poll::Ready(()),
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Bound { listener, .. } => Some(listener.local()),
            State::Connected(connected) => Some(connected.local),
            _ => None,
        }
    }
}

#[async_trait]
impl Pollable for VTcp {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

/// The address of the same family that a guest's address stands for: IPv4-mapped ones are refused, as WASI wants.
fn check_family(family: IpAddressFamily, address: SocketAddr) -> Result<SocketAddr, ErrorCode> {
    match (family, address.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V4(_)) | (IpAddressFamily::Ipv6, IpAddr::V6(_)) => Ok(address),
        _ => Err(ErrorCode::InvalidArgument),
    }
}

/// Pods have IPv4 addresses: an IPv6 wildcard or localhost means the same as IPv4's.
fn to_virtual(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip == Ipv6Addr::UNSPECIFIED => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()),
        IpAddr::V6(ip) if ip == Ipv6Addr::LOCALHOST => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

impl tcp_create_socket::Host for NetView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<VTcp>> {
        Ok(self.table.push(VTcp::new(family))?)
    }
}

impl Host for NetView<'_> {}

impl HostTcpSocket for NetView<'_> {
    fn start_bind(
        &mut self,
        this: Resource<VTcp>,
        _network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        if !matches!(socket.state, State::Unbound) {
            return Err(ErrorCode::InvalidState.into());
        }
        let address = check_family(socket.family, local_address.into())?;
        let listener = self.net.listen(to_virtual(address)).map_err(bind_code)?;
        let stopped = Box::pin(self.stopping.clone().cancelled_owned());
        socket.state = State::Bound { listener, listening: false, stopped };
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<VTcp>) -> SocketResult<()> {
        match self.table.get(&this)?.state {
            State::Bound { .. } => Ok(()),
            _ => Err(ErrorCode::NotInProgress.into()),
        }
    }

    fn start_connect(
        &mut self,
        this: Resource<VTcp>,
        _network: Resource<Network>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        if !matches!(socket.state, State::Unbound | State::Bound { listening: false, .. }) {
            return Err(ErrorCode::InvalidState.into());
        }
        let address = check_family(socket.family, remote_address.into())?;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let net = Arc::clone(self.net);
        let to = to_virtual(address);
        socket.state = State::Connecting(Box::pin(async move { net.connect(to).await }));
        Ok(())
    }

    fn finish_connect(
        &mut self,
        this: Resource<VTcp>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.table.get_mut(&this)?;
        if socket.poll_dialed(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(ErrorCode::WouldBlock.into());
        }
        let (reader, writer) = match std::mem::replace(&mut socket.state, State::Closed) {
            State::Dialed(Ok(stream)) => {
                let (connected, reader, writer) = VTcp::connected(socket.family, stream);
                *socket = connected;
                (reader, writer)
            }
            State::Dialed(Err(error)) => return Err(dial_code(&error).into()),
            other => {
                socket.state = other;
                return Err(ErrorCode::NotInProgress.into());
            }
        };
        self.push_streams(&this, reader, writer)
    }

    fn start_listen(&mut self, this: Resource<VTcp>) -> SocketResult<()> {
        match &mut self.table.get_mut(&this)?.state {
            State::Bound { listening, .. } if !*listening => {
                *listening = true;
                Ok(())
            }
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn finish_listen(&mut self, this: Resource<VTcp>) -> SocketResult<()> {
        match self.table.get(&this)?.state {
            State::Bound { listening: true, .. } => Ok(()),
            _ => Err(ErrorCode::NotInProgress.into()),
        }
    }

    fn accept(
        &mut self,
        this: Resource<VTcp>,
    ) -> SocketResult<(Resource<VTcp>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.table.get_mut(&this)?;
        let State::Bound { listener, listening: true, .. } = &mut socket.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        if self.stopping.is_cancelled() {
            socket.state = State::Closed;
            return Err(ErrorCode::ConnectionAborted.into());
        }
        let stream = match listener.try_accept() {
            Ok(Some(stream)) => stream,
            Ok(None) => return Err(ErrorCode::WouldBlock.into()),
            Err(_) => return Err(ErrorCode::ConnectionAborted.into()),
        };
        let (accepted, reader, writer) = VTcp::connected(socket.family, stream);
        let accepted = self.table.push(accepted)?;
        let (input, output) = self.push_streams(&accepted, reader, writer)?;
        Ok((accepted, input, output))
    }

    fn local_address(&mut self, this: Resource<VTcp>) -> SocketResult<IpSocketAddress> {
        let local = self.table.get(&this)?.local().ok_or(ErrorCode::InvalidState)?;
        Ok(local.into())
    }

    fn remote_address(&mut self, this: Resource<VTcp>) -> SocketResult<IpSocketAddress> {
        match &self.table.get(&this)?.state {
            State::Connected(connected) => Ok(connected.peer.into()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn is_listening(&mut self, this: Resource<VTcp>) -> wasmtime::Result<bool> {
        Ok(matches!(self.table.get(&this)?.state, State::Bound { listening: true, .. }))
    }

    fn address_family(&mut self, this: Resource<VTcp>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn set_listen_backlog_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        if value == 0 { Err(ErrorCode::InvalidArgument.into()) } else { Ok(()) }
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
        let State::Connected(connected) = &self.table.get(&this)?.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        if matches!(kind, ShutdownType::Send | ShutdownType::Both) {
            // Dropping a writer is the end of its stream.
            drop(lock(&connected.writer).take());
        }
        if matches!(kind, ShutdownType::Receive | ShutdownType::Both) {
            drop(lock(&connected.reader).take());
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
        reader: VReader,
        writer: VWriter,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let input = self.table.push_child(Box::new(reader) as DynInputStream, socket)?;
        let output = self.table.push_child(Box::new(writer) as DynOutputStream, socket)?;
        Ok((input, output))
    }
}

fn positive<T: PartialEq + From<u8>>(value: T) -> Result<T, ErrorCode> {
    if value == T::from(0) { Err(ErrorCode::InvalidArgument) } else { Ok(value) }
}
