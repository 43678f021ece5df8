//! Where an address leads, decided without doing anything about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::namespace::Namespace;
use crate::network::Network;
use crate::services::{Protocol, Translation};
use crate::uplink::Uplink;

/// Where a connection or datagram goes.
pub(crate) enum Route {
    /// To the sender's own namespace.
    Own(SocketAddr),
    /// To a pod of this node.
    Pod(Arc<Namespace>, SocketAddr),
    /// Out of this sandbox: the node knows where.
    Up(Arc<dyn Uplink>),
    /// Out of the cluster, over the kernel.
    World(SocketAddr),
    /// Out of the cluster, and the pod may not.
    Denied,
    /// A Service without an endpoint.
    Refused,
    /// An address of the cluster that nobody has.
    Unreachable,
}

impl Network {
    /// Where `to` leads for a client at `from`, Services translated.
    pub(crate) fn route(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Route {
        if let Some(uplink) = self.uplink() {
            return self.pod_at(to.ip()).map_or_else(|| Route::Up(Arc::clone(uplink)), |pod| Route::Pod(pod, to));
        }
        match self.services().translate(protocol, from, to) {
            Translation::Refused => Route::Refused,
            Translation::Endpoint(endpoint) if is_hosts_own(endpoint.ip()) => Route::Unreachable,
            Translation::Endpoint(endpoint) => self.route_direct(protocol, endpoint),
            Translation::Direct if self.config().service_cidr.contains(&to.ip()) => Route::Unreachable,
            Translation::Direct => self.route_direct(protocol, to),
        }
    }

    fn route_direct(&self, protocol: Protocol, to: SocketAddr) -> Route {
        if protocol == Protocol::Udp
            && to.ip() == self.config().node_ip
            && let Some(node) = self.node_namespace().filter(|node| node.inbox(to).is_some())
        {
            return Route::Pod(node, to);
        }
        if let Some(pod) = self.pod_at(to.ip()) {
            return Route::Pod(pod, to);
        }
        let config = self.config();
        let inside = config.cluster_cidr.contains(&to.ip()) || config.pod_cidr.contains(&to.ip());
        if inside || to.ip().is_multicast() { Route::Unreachable } else { Route::World(to) }
    }
}

/// Addresses that mean the machine itself: an endpoint at one would open the host's own services to pods.
fn is_hosts_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}
