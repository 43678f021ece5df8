//! TCP sockets: bound, listening, connecting or connected in the pod's network. What both versions of `wasi:sockets`
//! share; `tcp2` and `tcp3` are their faces.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wherry_vnet::{DialError, Listener, Namespace, ReadHalf, Stream, WriteHalf};

use super::streams::{Shared, VReader, VWriter, lock};
use super::{any, bind_code, dial_code, to_virtual};

/// Resolves when the container is asked to stop.
type Stopped = Pin<Box<WaitForCancellationFutureOwned>>;
type Dialing = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

/// A guest's TCP socket.
pub struct VTcp {
    pub(super) family: IpAddressFamily,
    state: State,
    /// What a guest may read back; the virtual network itself needs no tuning.
    pub(super) options: Options,
}

enum State {
    Unbound,
    /// The port is taken from here on; `listening` says whether the guest asked to.
    Bound {
        door: Door,
        listening: bool,
    },
    /// Listening, and the door is the stream of connections that the guest got.
    Handed(SocketAddr),
    Connecting(Dialing),
    Dialed(Result<Stream, DialError>),
    Connected(Connected),
    Closed,
}

/// A listener that closes when its container is asked to stop.
pub(super) struct Door {
    listener: Listener,
    stopped: Stopped,
}

struct Connected {
    local: SocketAddr,
    peer: SocketAddr,
    reader: Shared<ReadHalf>,
    writer: Shared<WriteHalf>,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) keep_alive: bool,
    pub(super) keep_alive_idle_nanos: u64,
    pub(super) keep_alive_interval_nanos: u64,
    pub(super) keep_alive_count: u32,
    pub(super) hop_limit: u8,
    pub(super) receive_buffer_bytes: u64,
    pub(super) send_buffer_bytes: u64,
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

impl Door {
    /// The next connection; `None` once the container is asked to stop or the pod is gone.
    pub(super) fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Option<Stream>> {
        if self.poll_ready(context).is_pending() {
            return Poll::Pending;
        }
        match self.accept() {
            Ok(stream) => Poll::Ready(Some(stream)),
            Err(ErrorCode::WouldBlock) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    }

    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.stopped.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.listener.poll_acceptable(context),
        }
    }

    fn accept(&mut self) -> Result<Stream, ErrorCode> {
        if self.stopped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return Err(ErrorCode::ConnectionAborted);
        }
        match self.listener.try_accept() {
            Ok(Some(stream)) => Ok(stream),
            Ok(None) => Err(ErrorCode::WouldBlock),
            Err(_) => Err(ErrorCode::ConnectionAborted),
        }
    }
}

impl VTcp {
    pub(super) fn new(family: IpAddressFamily) -> Self {
        Self { family, state: State::Unbound, options: Options::default() }
    }

    /// A connected socket.
    pub(super) fn connected(family: IpAddressFamily, options: Options, stream: Stream) -> Self {
        let Stream { reader, writer, local, peer } = stream;
        let (reader, writer) = (Arc::new(Mutex::new(Some(reader))), Arc::new(Mutex::new(Some(writer))));
        Self { family, state: State::Connected(Connected { local, peer, reader, writer }), options }
    }

    pub(super) async fn bind(
        &mut self,
        net: &Arc<Namespace>,
        stopping: &CancellationToken,
        on: SocketAddr,
    ) -> Result<(), ErrorCode> {
        if !matches!(self.state, State::Unbound) {
            return Err(ErrorCode::InvalidState);
        }
        let on = to_virtual(check_family(self.family, on)?);
        let listener = net.listen(on).map_err(bind_code)?.settled().await.map_err(bind_code)?;
        self.hold(listener, stopping);
        Ok(())
    }

    /// Binds a port that is picked, where the guest has bound none.
    pub(super) fn bind_somewhere(
        &mut self,
        net: &Arc<Namespace>,
        stopping: &CancellationToken,
    ) -> Result<(), ErrorCode> {
        if matches!(self.state, State::Unbound) {
            self.hold(net.listen(to_virtual(any(self.family))).map_err(bind_code)?, stopping);
        }
        Ok(())
    }

    fn hold(&mut self, listener: Listener, stopping: &CancellationToken) {
        let door = Door { listener, stopped: Box::pin(stopping.clone().cancelled_owned()) };
        self.state = State::Bound { door, listening: false };
    }

    pub(super) const fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound { .. })
    }

    pub(super) fn start_connect(&mut self, net: &Arc<Namespace>, to: SocketAddr) -> Result<(), ErrorCode> {
        if !matches!(self.state, State::Unbound | State::Bound { listening: false, .. }) {
            return Err(ErrorCode::InvalidState);
        }
        let to = check_family(self.family, to)?;
        if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() {
            return Err(ErrorCode::InvalidArgument);
        }
        let (net, to) = (Arc::clone(net), to_virtual(to));
        self.state = State::Connecting(Box::pin(async move { net.connect(to).await }));
        Ok(())
    }

    /// Connected, if the dialing is over; it is driven here.
    pub(super) fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ErrorCode>> {
        if self.poll_dialed(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match std::mem::replace(&mut self.state, State::Closed) {
            State::Dialed(Ok(stream)) => {
                *self = Self::connected(self.family, self.options.clone(), stream);
                Ok(())
            }
            State::Dialed(Err(error)) => Err(dial_code(&error)),
            other => {
                self.state = other;
                Err(ErrorCode::NotInProgress)
            }
        })
    }

    pub(super) fn listen(&mut self) -> Result<(), ErrorCode> {
        match &mut self.state {
            State::Bound { listening, .. } if !*listening => {
                *listening = true;
                Ok(())
            }
            _ => Err(ErrorCode::InvalidState),
        }
    }

    /// Listens, and hands out the door itself.
    pub(super) fn hand_out_door(&mut self) -> Result<Door, ErrorCode> {
        self.listen()?;
        let handed = self.local().map_or(State::Closed, State::Handed);
        match std::mem::replace(&mut self.state, handed) {
            State::Bound { door, .. } => Ok(door),
            _ => Err(ErrorCode::InvalidState),
        }
    }

    pub(super) const fn is_listening(&self) -> bool {
        matches!(self.state, State::Bound { listening: true, .. } | State::Handed(_))
    }

    pub(super) fn accept(&mut self) -> Result<Self, ErrorCode> {
        let State::Bound { door, listening: true } = &mut self.state else {
            return Err(ErrorCode::InvalidState);
        };
        match door.accept() {
            Ok(stream) => Ok(Self::connected(self.family, self.options.clone(), stream)),
            Err(ErrorCode::WouldBlock) => Err(ErrorCode::WouldBlock),
            Err(code) => {
                self.state = State::Closed;
                Err(code)
            }
        }
    }

    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Bound { door, listening: true } => door.poll_ready(context),
            State::Connecting(_) => self.poll_dialed(context),
            _ => Poll::Ready(()),
        }
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Bound { door, .. } => Some(door.listener.local()),
            State::Handed(local) => Some(*local),
            State::Connected(connected) => Some(connected.local),
            _ => None,
        }
    }

    pub(super) const fn peer(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Connected(connected) => Some(connected.peer),
            _ => None,
        }
    }

    /// Both halves, which stay the socket's to shut down.
    pub(super) fn streams(&self) -> Result<(VReader, VWriter), ErrorCode> {
        let connected = self.connection()?;
        Ok((VReader(Arc::clone(&connected.reader)), VWriter(Arc::clone(&connected.writer))))
    }

    /// The reading half, once. Dropping it shuts that direction down.
    pub(super) fn take_reader(&self) -> Result<ReadHalf, ErrorCode> {
        lock(&self.connection()?.reader).take().ok_or(ErrorCode::InvalidState)
    }

    /// The writing half, once. Dropping it is the end of the stream.
    pub(super) fn take_writer(&self) -> Result<WriteHalf, ErrorCode> {
        lock(&self.connection()?.writer).take().ok_or(ErrorCode::InvalidState)
    }

    fn connection(&self) -> Result<&Connected, ErrorCode> {
        match &self.state {
            State::Connected(connected) => Ok(connected),
            _ => Err(ErrorCode::InvalidState),
        }
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
}

/// The address of the same family that a guest's address stands for: IPv4-mapped ones are refused, as WASI wants.
fn check_family(family: IpAddressFamily, address: SocketAddr) -> Result<SocketAddr, ErrorCode> {
    match (family, address.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V4(_)) | (IpAddressFamily::Ipv6, IpAddr::V6(_)) => Ok(address),
        _ => Err(ErrorCode::InvalidArgument),
    }
}

pub(super) fn positive<T: PartialEq + From<u8>>(value: T) -> Result<T, ErrorCode> {
    if value == T::from(0) { Err(ErrorCode::InvalidArgument) } else { Ok(value) }
}
