//! The ports of a pod's modules, taken in the kernel: no container can have them, and what containers send there goes to
//! the modules. Connections pass as the kernel's own sockets, so that nothing here copies their bytes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::{CancellationToken, DropGuard};
use wherry_vnet::{BindError, Protocol};

use crate::podnet::PodNet;

/// The largest payload of a datagram over IPv4.
const PAYLOAD_BYTES_MAX: usize = 65_507;

/// How long accepting rests after an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(crate) struct Doors(Mutex<HashMap<(Protocol, SocketAddr), Door>>);

struct Door {
    socket: Socket,
    _ends_its_task: DropGuard,
}

/// A socket that its task uses and its owner closes: the port is free at once, whenever the task ends.
enum Socket {
    Tcp(Arc<Mutex<Option<tokio::net::TcpListener>>>),
    Udp(Arc<Mutex<Option<tokio::net::UdpSocket>>>),
}

impl Drop for Door {
    fn drop(&mut self) {
        match &self.socket {
            Socket::Tcp(listener) => drop(locked(listener).take()),
            Socket::Udp(socket) => drop(locked(socket).take()),
        }
    }
}

impl Doors {
    /// Takes a port, where that is not done. The present async runtime serves it.
    pub(crate) fn bind(&self, net: &Arc<PodNet>, protocol: Protocol, at: SocketAddr) -> Result<(), BindError> {
        let Some(on) = in_kernel(at) else { return Ok(()) };
        let mut doors = locked(&self.0);
        if doors.contains_key(&(protocol, at)) {
            return Ok(());
        }
        let end = CancellationToken::new();
        let socket = open(net, protocol, on, end.clone()).map_err(|error| bind_error(&error))?;
        doors.insert((protocol, at), Door { socket, _ends_its_task: end.drop_guard() });
        Ok(())
    }

    /// Gives a port back.
    pub(crate) fn unbind(&self, protocol: Protocol, at: SocketAddr) {
        let gone = locked(&self.0).remove(&(protocol, at));
        drop(gone);
    }

    /// Sends a datagram of a module to a container, from the module's own port. One that does not fit is dropped.
    pub(crate) fn send(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let doors = locked(&self.0);
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), from.port());
        let door = [from, any].iter().find_map(|at| doors.get(&(Protocol::Udp, *at)));
        let Some(Door { socket: Socket::Udp(socket), .. }) = door else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let socket = Arc::clone(socket);
        drop(doors);
        match locked(&socket).as_ref().map(|socket| socket.try_send_to(payload, to)) {
            Some(Err(full)) if full.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Some(sent) => sent.map(drop),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn close(&self) {
        let gone = std::mem::take(&mut *locked(&self.0));
        drop(gone);
    }
}

/// Where the kernel is bound for a module's port. There is no IPv6 here that a container could be in the way with.
fn in_kernel(at: SocketAddr) -> Option<SocketAddr> {
    match at.ip() {
        IpAddr::V4(_) => Some(at),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port())),
        IpAddr::V6(_) => None,
    }
}

fn bind_error(error: &io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse,
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal,
        _ => BindError::Closed,
    }
}

fn open(net: &Arc<PodNet>, protocol: Protocol, on: SocketAddr, end: CancellationToken) -> io::Result<Socket> {
    match protocol {
        Protocol::Tcp => {
            let listener = net.netns().within(move || TcpListener::bind(on))?;
            listener.set_nonblocking(true)?;
            let listener = Arc::new(Mutex::new(Some(tokio::net::TcpListener::from_std(listener)?)));
            let task = accept(Arc::clone(net), Arc::clone(&listener));
            net.spawn(async move {
                let _ended = end.run_until_cancelled_owned(task).await;
            });
            Ok(Socket::Tcp(listener))
        }
        Protocol::Udp => {
            let socket = net.netns().within(move || UdpSocket::bind(on))?;
            socket.set_nonblocking(true)?;
            let socket = Arc::new(Mutex::new(Some(tokio::net::UdpSocket::from_std(socket)?)));
            let task = receive(Arc::clone(net), Arc::clone(&socket), on);
            net.spawn(async move {
                let _ended = end.run_until_cancelled_owned(task).await;
            });
            Ok(Socket::Udp(socket))
        }
    }
}

/// Hands connections of containers to the module that listens.
async fn accept(net: Arc<PodNet>, listener: Arc<Mutex<Option<tokio::net::TcpListener>>>) {
    loop {
        let accepted = std::future::poll_fn(|context| match locked(&listener).as_ref() {
            Some(listener) => listener.poll_accept(context).map(Some),
            None => Poll::Ready(None),
        });
        match accepted.await {
            None => return,
            Some(Ok((stream, from))) => {
                let _the_container_sees_the_end_of_it = hand(&net, stream, from);
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a container's connection to a module cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn hand(net: &PodNet, stream: tokio::net::TcpStream, from: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let to = stream.local_addr()?;
    let socket: TcpStream = stream.into_std()?;
    net.give(from, to, OwnedFd::from(socket))
}

/// Hands datagrams of containers to the module that is bound at `on`.
async fn receive(net: Arc<PodNet>, socket: Arc<Mutex<Option<tokio::net::UdpSocket>>>, on: SocketAddr) {
    let mut buffer = vec![0; PAYLOAD_BYTES_MAX];
    loop {
        let received = std::future::poll_fn(|context| match locked(&socket).as_ref() {
            Some(socket) => {
                let mut space = tokio::io::ReadBuf::new(&mut buffer);
                socket.poll_recv_from(context, &mut space).map_ok(|from| (from, space.filled().len())).map(Some)
            }
            None => Poll::Ready(None),
        });
        match received.await {
            None => return,
            // An answer that a container did not take is told to the next call.
            Some(Err(_)) => {}
            Some(Ok((from, length))) => {
                let payload = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                net.give_datagram(from, on, payload);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
