//! Where an address leads, decided without doing anything about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::dial::DialError;
use crate::namespace::Namespace;
use crate::network::Network;
use crate::peers::Peers;
use crate::services::{Protocol, Services, Translation};
use crate::uplink::Uplink;

/// How many endpoints of a Service are tried for a connection.
const ENDPOINTS_TRIED_MAX: usize = 4;

/// Where a connection or datagram goes.
pub(crate) enum Route {
    /// To the sender's own namespace.
    Own(SocketAddr),
    /// To a pod of this node.
    Pod(Arc<Namespace>, SocketAddr),
    /// To a pod of another node.
    Peer(Arc<dyn Peers>, SocketAddr),
    /// Out of this sandbox: the node knows where.
    Up(Arc<dyn Uplink>),
    /// Out of the cluster, over the kernel.
    World(SocketAddr),
    /// Out of the cluster, and the pod may not.
    Denied,
    /// A Service without an endpoint.
    Refused,
    /// An address of the cluster that nobody has.
    Unreachable(SocketAddr),
}

/// The tries of one connection: where the chosen endpoint of a Service does not take it, another one may.
pub(crate) struct Tries {
    to: SocketAddr,
    left: usize,
    chosen: Option<SocketAddr>,
}

impl Tries {
    pub(crate) const fn new(to: SocketAddr) -> Self {
        Self { to, left: ENDPOINTS_TRIED_MAX, chosen: None }
    }

    /// Notes which endpoint was chosen, if the way leads to one.
    pub(crate) fn note(&mut self, route: Route) -> Route {
        self.left = self.left.saturating_sub(1);
        self.chosen = match &route {
            Route::Pod(_, at) | Route::Peer(_, at) | Route::Unreachable(at) if *at != self.to => Some(*at),
            _ => None,
        };
        route
    }

    /// Whether the Service may have another endpoint, now that this one has failed.
    pub(crate) fn again(&self, services: &dyn Services, why: &DialError) -> bool {
        let Some(endpoint) = self.chosen else { return false };
        if matches!(why, DialError::Denied | DialError::Io(_)) {
            return false;
        }
        services.failed(self.to, endpoint, why);
        self.left > 0
    }
}

impl Network {
    /// Where `to` leads for a client at `from`, Services translated.
    pub(crate) fn route(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Route {
        if let Some(uplink) = self.uplink() {
            return self.pod_at(to.ip()).map_or_else(|| Route::Up(Arc::clone(uplink)), |pod| Route::Pod(pod, to));
        }
        match self.services().translate(protocol, from, to) {
            Translation::Refused => Route::Refused,
            Translation::Endpoint(endpoint) if is_hosts_own(endpoint.ip()) => Route::Unreachable(endpoint),
            Translation::Endpoint(endpoint) => self.route_direct(protocol, endpoint),
            Translation::Direct if self.config().service_cidr.contains(&to.ip()) => Route::Unreachable(to),
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
        if config.pod_cidr.contains(&to.ip()) || to.ip().is_multicast() {
            return Route::Unreachable(to);
        }
        if !config.cluster_cidr.contains(&to.ip()) {
            return Route::World(to);
        }
        self.peers().map_or(Route::Unreachable(to), |peers| Route::Peer(Arc::clone(peers), to))
    }
}

/// Addresses that mean the machine itself: an endpoint at one would open the host's own services to pods.
fn is_hosts_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}
