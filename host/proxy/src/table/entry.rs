//! One Service of the table, made from its facts and its slices.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wherry_vnet::Protocol;

use super::backends::Backends;
use super::facts::{ServiceFacts, ServicePort, SliceEndpoint, SliceFacts};

/// A Service and who serves it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) alias: Option<String>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<PortEntry>,
    /// The pods' addresses and hostnames, which the name of a headless Service means.
    pub(crate) pods: Vec<(IpAddr, String)>,
}

/// A port of a Service and who serves it.
#[derive(Debug)]
pub(crate) struct PortEntry {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
    pub(crate) node_port: u16,
    pub(crate) backends: Arc<Backends>,
}

/// A Service's port as an Ingress names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortRef {
    Name(String),
    Number(u16),
}

impl PortRef {
    pub(crate) fn means(&self, port: &PortEntry) -> bool {
        port.protocol == Protocol::Tcp
            && match self {
                Self::Name(name) => *name == port.name,
                Self::Number(number) => *number == port.number,
            }
    }
}

impl Entry {
    /// The Service as it is now; endpoints that `old` knew go on with their counts.
    pub(crate) fn build(facts: &ServiceFacts, slices: &[SliceFacts], old: Option<&Self>) -> Self {
        let port = |port: &ServicePort| {
            let old = old.and_then(|old| old.same_port(port));
            PortEntry {
                name: port.name.clone(),
                protocol: port.protocol,
                number: port.number,
                node_port: port.node_port,
                backends: Arc::new(Backends::new(addresses_of(port, slices), facts.sticky, old)),
            }
        };
        Self {
            alias: facts.alias.clone(),
            addresses: facts.addresses.clone(),
            ports: facts.ports.iter().map(port).collect(),
            pods: pods(slices),
        }
    }

    fn same_port(&self, port: &ServicePort) -> Option<&Backends> {
        let same = |own: &&PortEntry| own.protocol == port.protocol && own.number == port.number;
        self.ports.iter().find(same).map(|own| &*own.backends)
    }
}

/// The ready endpoints; where there is none, those that end but still serve.
fn addresses_of(port: &ServicePort, slices: &[SliceFacts]) -> Vec<SocketAddr> {
    let find = |ready| {
        let mut found: Vec<SocketAddr> = slices.iter().flat_map(|slice| in_slice(port, slice, ready)).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let ready = find(true);
    if ready.is_empty() { find(false) } else { ready }
}

fn in_slice(port: &ServicePort, slice: &SliceFacts, ready: bool) -> Vec<SocketAddr> {
    let same = slice.ports.iter().filter(|own| own.protocol == port.protocol && own.name == port.name);
    let numbers: Vec<u16> = same.map(|own| own.number).collect();
    let endpoints = slice.endpoints.iter().filter(|endpoint| endpoint.ready == ready);
    let addresses = endpoints.filter_map(|endpoint| endpoint.addresses.first());
    addresses.flat_map(|ip| numbers.iter().map(|number| SocketAddr::new(*ip, *number))).collect()
}

fn pods(slices: &[SliceFacts]) -> Vec<(IpAddr, String)> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready);
    let pod = |endpoint: &SliceEndpoint| Some((*endpoint.addresses.first()?, endpoint.hostname.clone()));
    let mut pods: Vec<(IpAddr, String)> = endpoints.filter_map(pod).collect();
    pods.sort_unstable();
    pods.dedup();
    pods
}
