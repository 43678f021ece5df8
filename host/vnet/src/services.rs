//! What the network asks of whoever knows Services and names: the proxy, or nobody.

use std::net::{IpAddr, SocketAddr};

use crate::dial::DialError;

/// Transport protocols that the pod network carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a destination address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Not an address of a Service: dial it as it is.
    Direct,
    /// A Service; this ready endpoint was chosen.
    Endpoint(SocketAddr),
    /// A Service without a ready endpoint, or without that port: refuse.
    Refused,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// Another name, outside the cluster (`ExternalName`).
    Alias(String),
    /// A name of the cluster that does not exist.
    Missing,
    /// Not a name of the cluster.
    Foreign,
}

/// Knows Services and names.
pub trait Services: Send + Sync + 'static {
    /// What `to` means; a Service's endpoint is chosen anew at each call. `from` is the client's address (session affinity).
    fn translate(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Translation;

    /// An endpoint that was chosen for the TCP port `to` took no connection: others may come first for a while.
    fn failed(&self, _to: SocketAddr, _endpoint: SocketAddr, _why: &DialError) {}

    /// Whether an endpoint that was chosen for the UDP port `to` serves it yet.
    fn serves(&self, _to: SocketAddr, _endpoint: SocketAddr) -> bool {
        false
    }

    /// What `name` means to a pod of `namespace`, search domains included.
    fn resolve(&self, namespace: &str, name: &str) -> Resolution;
}

/// A network without Services.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn translate(&self, _: Protocol, _: IpAddr, _: SocketAddr) -> Translation {
        Translation::Direct
    }

    fn resolve(&self, _: &str, _: &str) -> Resolution {
        Resolution::Foreign
    }
}
