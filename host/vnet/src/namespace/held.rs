//! A pod whose sockets are in another process, as the node sees it; and the node, as a sandbox sees it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{At, BindError, Namespace};
use crate::dial::DialError;
use crate::egress;
use crate::http::HttpHandler;
use crate::ports::Socket;
use crate::route::{Route, Tries};
use crate::services::Protocol;
use crate::socket::socket_pair;
use crate::stream::Stream;
use crate::uplink::{Holder, PortKind, Uplink, Way};

/// The node's side.
impl Namespace {
    /// Another process holds the pod's sockets, and is told when the pod has containers, now or later.
    pub fn hold(&self, holder: &Arc<dyn Holder>) {
        let mut ports = self.lock();
        ports.holder = Some(Arc::downgrade(holder));
        let is_mixed = ports.kernel.is_some();
        drop(ports);
        if is_mixed {
            holder.mixed(self.address);
        }
    }

    /// A TCP port of the pod is listened on by another process, which is handed connections to it, and requests by
    /// `handler` where it takes those.
    pub fn bind_held(
        &self,
        on: SocketAddr,
        holder: Arc<dyn Holder>,
        handler: Option<Arc<dyn HttpHandler>>,
    ) -> Result<(), BindError> {
        self.bind(on, &Socket::Held(holder), handler).map(drop)
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
            Route::Own(to) => self.open_for(holder, self, to).await,
            Route::Pod(pod, to) => self.open_for(holder, &pod, to).await,
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
    async fn open_for(&self, holder: &Arc<dyn Holder>, pod: &Self, to: SocketAddr) -> Result<Way, DialError> {
        let local = self.client_of(to);
        let socket = match pod.listener(to)? {
            At::Holder(other) if Arc::ptr_eq(&other, holder) => return Ok(Way::Here(to)),
            At::Holder(other) => {
                let (ours, theirs) = socket_pair()?;
                other.accept(pod.address, local, to, theirs)?;
                ours
            }
            At::Module(_) => self.bridge(pod.open(local, to).await?)?,
            At::Kernel(kernel) => pod.socket_to_kernel(&*kernel, local, to).await?,
        };
        Ok(Way::Socket { socket, local, peer: to })
    }

    /// The connection to a port that another process listens on.
    pub(super) fn open_held(&self, holder: &dyn Holder, from: SocketAddr, to: SocketAddr) -> Result<Stream, DialError> {
        let (ours, theirs) = socket_pair()?;
        holder.accept(self.address, from, to, theirs)?;
        let stream = Stream::from_socket(ours, from, to, self.network.tasks())?;
        if self.remember(&stream) { Ok(stream) } else { Err(DialError::Refused) }
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
    pub(super) async fn connect_up(&self, uplink: &dyn Uplink, to: SocketAddr) -> Result<Stream, DialError> {
        let stream = match uplink.connect(self.address, to).await? {
            Way::Socket { socket, local, peer } => Stream::from_socket(socket, local, peer, self.network.tasks())?,
            Way::Here(at) if self.is_own(at.ip()) => return self.connect_to(self, at).await,
            Way::Here(at) => {
                let pod = self.network.pod_at(at.ip()).ok_or(DialError::Unreachable)?;
                return self.connect_to(&pod, at).await;
            }
        };
        if self.remember(&stream) { Ok(stream) } else { Err(DialError::Unreachable) }
    }

    /// A port that was announced is another's, a container's: whoever listens here hears that the listener is closed.
    pub fn lose(&self, protocol: Protocol, at: SocketAddr) {
        let gone = self.unbind(&mut self.lock(), |on, socket| on == at && socket.protocol() == protocol);
        gone.iter().for_each(|backlog| backlog.close());
    }

    /// Whether a port that was bound just now is the pod's still, in a pod with containers: then the node is waited for,
    /// which knows whether one of them has it.
    pub(crate) async fn keeps(&self, protocol: Protocol, at: SocketAddr) -> bool {
        if let Some(uplink) = self.network.uplink().filter(|uplink| uplink.is_mixed(self.address)) {
            uplink.heard(self.address).await;
        }
        self.lock().bound().any(|bound| bound == (protocol, at))
    }

    /// Tells the node of ports: others can reach them, or the pod's own containers.
    pub(super) fn tell_bound(&self, kind: PortKind, at: SocketAddr, is_bound: bool) {
        if let Some(uplink) = self.network.uplink() {
            uplink.bound(self.address, kind, at, is_bound);
        }
    }
}
