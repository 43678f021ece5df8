//! A pod that has Linux containers beside its modules, or nothing else: what passes between the kernel's part and this one.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{At, BindError, Namespace};
use crate::dial::DialError;
use crate::kernel::KernelSide;
use crate::ports::Phase;
use crate::socket::socket_pair;
use crate::stream::{Stream, pair};
use crate::udp::{Datagram, Inbox, UdpSocket};

impl Namespace {
    /// From now on the pod has containers, which share its ports; what the pod had before in the kernel is closed. Ports that
    /// modules have are taken there at once: where a container is in the way, that port stays two ports, and is logged.
    pub fn attach(&self, kernel: Arc<dyn KernelSide>) -> Result<(), BindError> {
        let mut ports = self.lock();
        if ports.phase == Phase::Closed {
            drop(ports);
            kernel.close();
            return Err(BindError::Closed);
        }
        let before = ports.kernel.replace(Arc::clone(&kernel));
        let bound: Vec<_> = ports.bound().collect();
        let holder = ports.holder.as_ref().and_then(Weak::upgrade);
        drop(ports);
        if let Some(holder) = holder {
            holder.mixed(self.address);
        }
        before.iter().for_each(|before| before.close());
        for (protocol, at) in bound {
            if let Err(error) = kernel.bind(protocol, at) {
                tracing::warn!(pod = %self.pod.name, %at, ?protocol, %error, "a module's port is not the containers' too");
            }
        }
        Ok(())
    }

    /// A connection from outside of this process, or from a container, to a port of a module. The socket is a connected
    /// stream socket, Unix or TCP.
    pub fn accept(&self, from: SocketAddr, to: SocketAddr, socket: OwnedFd) -> Result<(), DialError> {
        match self.listener(to)? {
            At::Module(backlog) => {
                let stream = Stream::from_socket(socket, to, from, self.network.tasks())?;
                if self.remember(&stream) { backlog.offer(stream) } else { Err(DialError::Refused) }
            }
            At::Holder(holder) => holder.accept(self.address, from, to, socket),
            At::Kernel(_) => Err(DialError::Refused),
        }
    }

    /// A datagram from outside of this process, or from a container, to a port of a module; one that nobody is bound to is
    /// dropped.
    pub fn receive(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) {
        if let Some(inbox) = self.inbox(to) {
            inbox.push(Datagram { from, payload });
        }
    }

    /// The end here of a container's UDP socket at `local`: it sends as that socket does. What comes to that port from pods
    /// goes to [`KernelSide::send`]; this one receives what comes from outside the cluster.
    pub fn udp_of_container(self: &Arc<Self>, local: SocketAddr) -> UdpSocket {
        UdpSocket::new(local, Arc::new(Inbox::default()), Arc::clone(self))
    }

    /// A connection to a container: where the pod itself is the client, within the kernel.
    pub(super) async fn open_kernel(
        &self,
        kernel: &dyn KernelSide,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<Stream, DialError> {
        let stream = if self.is_own(from.ip()) {
            Stream::from_socket(kernel.connect(to).await?, from, to, self.network.tasks())?
        } else {
            let (ours, theirs) = pair(from, to);
            kernel.carry(theirs).await?;
            ours
        };
        if self.remember(&stream) { Ok(stream) } else { Err(DialError::Refused) }
    }

    /// The same, as a socket for the process that holds the client.
    pub(super) async fn socket_to_kernel(
        &self,
        kernel: &dyn KernelSide,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<OwnedFd, DialError> {
        if self.is_own(from.ip()) {
            return kernel.connect(to).await;
        }
        let (ours, theirs) = socket_pair()?;
        let stream = Stream::from_socket(theirs, to, from, self.network.tasks())?;
        if !self.remember(&stream) {
            return Err(DialError::Refused);
        }
        kernel.carry(stream).await?;
        Ok(ours)
    }
}
