//! A pod whose sockets are in another process, as the node sees it; and the node, as a sandbox sees it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use super::{BindError, Namespace};
use crate::dial::DialError;
use crate::egress;
use crate::http::HttpHandler;
use crate::ports::{Phase, Socket};
use crate::route::{Route, Tries};
use crate::services::Protocol;
use crate::socket::socket_pair;
use crate::stream::Stream;
use crate::udp::Datagram;
use crate::uplink::{Holder, PortKind, Uplink, Way};

/// The node's side.
impl Namespace {
    /// A TCP port of the pod is listened on by another process, which is handed connections to it, and requests by
    /// `handler` where it takes those.
    pub fn bind_held(
        &self,
        on: SocketAddr,
        holder: Arc<dyn Holder>,
        handler: Option<Arc<dyn HttpHandler>>,
    ) -> Result<(), BindError> {
        let mut ports = self.lock();
        let local = ports.bind(self.local(on)?, Socket::Held(holder))?;
        if let Some(handler) = handler {
            self.network.add_handler(SocketAddr::new(self.address, local.port()), handler);
        }
        drop(ports);
        Ok(())
    }

    /// Another process listens no more.
    pub fn unbind_held(&self, on: SocketAddr) {
        self.unbind(&mut self.lock(), |at, socket| at == on && matches!(socket, Socket::Held(_)));
    }

    /// The process that listened for this pod is gone.
    pub fn unbind_all_held(&self) {
        self.unbind(&mut self.lock(), |_, socket| matches!(socket, Socket::Held(_)));
    }

    /// Connects on behalf of the process that holds this pod's sockets.
    pub async fn connect_for(self: &Arc<Self>, holder: &Arc<dyn Holder>, to: SocketAddr) -> Result<Way, DialError> {
        let mut tries = Tries::new(to);
        loop {
            let route = tries.note(self.route(Protocol::Tcp, to));
            match self.follow_for(holder, route).await {
                Err(why) if tries.again(self.network.services(), &why) => {}
                done => return done,
            }
        }
    }

    async fn follow_for(self: &Arc<Self>, holder: &Arc<dyn Holder>, route: Route) -> Result<Way, DialError> {
        match route {
            Route::Own(to) => self.open_for(holder, self, to),
            Route::Pod(pod, to) => self.open_for(holder, &pod, to),
            Route::Peer(peers, to) => {
                let local = self.client_address(self.address);
                let (socket, far) = socket_pair()?;
                peers.carry(Stream::from_socket(far, to, local, self.network.tasks())?).await?;
                Ok(Way::Socket { socket, local, peer: to })
            }
            Route::World(to) => {
                let socket = egress::connect(to).await?.into_std()?.into();
                Ok(Way::Socket { socket, local: self.client_address(self.address), peer: to })
            }
            Route::Denied => Err(DialError::Denied),
            Route::Refused => Err(DialError::Refused),
            Route::Up(_) | Route::Unreachable(_) => Err(DialError::Unreachable),
        }
    }

    /// A connection to a pod of this node.
    fn open_for(&self, holder: &Arc<dyn Holder>, pod: &Self, to: SocketAddr) -> Result<Way, DialError> {
        let local = self.client_address(self.address);
        let socket = match pod.holder(to) {
            Some(other) if Arc::ptr_eq(&other, holder) => return Ok(Way::Here(to)),
            Some(other) => {
                let (ours, theirs) = socket_pair()?;
                other.accept(local, to, theirs)?;
                ours
            }
            None => self.bridge(pod.open(local, to)?)?,
        };
        Ok(Way::Socket { socket, local, peer: to })
    }

    /// The connection to a port that another process listens on.
    pub(super) fn open_held(&self, holder: &dyn Holder, from: SocketAddr, to: SocketAddr) -> Result<Stream, DialError> {
        let (ours, theirs) = socket_pair()?;
        holder.accept(from, to, theirs)?;
        let stream = Stream::from_socket(ours, from, to, self.network.tasks())?;
        if self.remember(&stream) { Ok(stream) } else { Err(DialError::Refused) }
    }

    fn holder(&self, to: SocketAddr) -> Option<Arc<dyn Holder>> {
        match self.lock().find(Protocol::Tcp, to)? {
            Socket::Held(holder) => Some(Arc::clone(holder)),
            _ => None,
        }
    }

    /// A socket whose other end is joined to a connection in memory.
    fn bridge(&self, mut stream: Stream) -> Result<OwnedFd, DialError> {
        let (ours, theirs) = socket_pair()?;
        let mut ours = Stream::from_socket(ours, stream.local, stream.peer, self.network.tasks())?;
        self.network.tasks().spawn(async move {
            if tokio::io::copy_bidirectional(&mut ours, &mut stream).await.is_err() {
                stream.abort();
            }
        });
        Ok(theirs)
    }
}

/// The sandbox's side.
impl Namespace {
    /// A connection from outside to a port of this pod.
    pub fn accept(&self, from: SocketAddr, to: SocketAddr, socket: OwnedFd) -> Result<(), DialError> {
        let stream = Stream::from_socket(socket, to, from, self.network.tasks())?;
        let mut ports = self.lock();
        let backlog = ports.find(Protocol::Tcp, to).and_then(Socket::backlog).cloned().ok_or(DialError::Refused)?;
        if ports.phase == Phase::Closed {
            return Err(DialError::Refused);
        }
        ports.remember(stream.handle());
        drop(ports);
        backlog.offer(stream)
    }

    /// A datagram from outside to a port of this pod; one that nobody is bound to is dropped.
    pub fn receive(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) {
        if let Some(inbox) = self.inbox(to) {
            inbox.push(Datagram { from, payload });
        }
    }

    pub(super) async fn connect_up(&self, uplink: &dyn Uplink, to: SocketAddr) -> Result<Stream, DialError> {
        let stream = match uplink.connect(self.address, to).await? {
            Way::Socket { socket, local, peer } => Stream::from_socket(socket, local, peer, self.network.tasks())?,
            Way::Here(at) => {
                let pod = self.network.pod_at(at.ip()).ok_or(DialError::Unreachable)?;
                return self.connect_to(&pod, at);
            }
        };
        if self.remember(&stream) { Ok(stream) } else { Err(DialError::Unreachable) }
    }

    /// Tells the node of ports that others can reach.
    pub(super) fn tell_bound(&self, kind: PortKind, at: SocketAddr, is_bound: bool) {
        if at.ip().is_loopback() {
            return;
        }
        if let Some(uplink) = self.network.uplink() {
            uplink.bound(kind, SocketAddr::new(self.address, at.port()), is_bound);
        }
    }
}
