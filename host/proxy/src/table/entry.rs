//! One Service of the table, made from its facts and its slices.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wherry_vnet::Protocol;

use super::backends::{Backends, Site};
use super::facts::{ServiceFacts, ServicePort, SliceEndpoint, SliceFacts};
use super::surroundings::{Spread, Surroundings};

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
    /// For the ingress, which keeps to no traffic policy.
    pub(crate) backends: Arc<Backends>,
    /// For pods.
    pub(crate) internal: Arc<Backends>,
    /// For the node port.
    pub(crate) external: Arc<Backends>,
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
    pub(crate) fn build(
        facts: &ServiceFacts,
        slices: &[SliceFacts],
        around: &mut Surroundings,
        old: Option<&Self>,
    ) -> Self {
        let port = |port: &ServicePort| {
            let old = old.and_then(|old| old.same_port(port));
            port_entry(facts, port, &sites(port, slices, around), old)
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

fn port_entry(facts: &ServiceFacts, port: &ServicePort, sites: &[Site], old: Option<&Backends>) -> PortEntry {
    let backends = Arc::new(Backends::new(sites.iter().cloned(), facts.spread, facts.sticky, old));
    let those = |are_local: bool| {
        if are_local {
            // Of the same endpoints, with the same counts.
            let local = Backends::new(sites.iter().cloned(), Spread::OnlySameNode, facts.sticky, Some(&backends));
            Arc::new(local)
        } else {
            Arc::clone(&backends)
        }
    };
    PortEntry {
        name: port.name.clone(),
        protocol: port.protocol,
        number: port.number,
        node_port: port.node_port,
        internal: those(facts.internal_is_local),
        external: those(facts.external_is_local),
        backends,
    }
}

/// The ready endpoints; where there is none, those that end but still serve.
fn sites(port: &ServicePort, slices: &[SliceFacts], around: &mut Surroundings) -> Vec<Site> {
    let mut find = |ready| {
        let mut found: Vec<Site> = slices.iter().flat_map(|slice| in_slice(port, slice, ready, around)).collect();
        found.sort_unstable_by_key(|site| site.address);
        found.dedup_by_key(|site| site.address);
        found
    };
    let ready = find(true);
    if ready.is_empty() { find(false) } else { ready }
}

fn in_slice(port: &ServicePort, slice: &SliceFacts, ready: bool, around: &mut Surroundings) -> Vec<Site> {
    let same = slice.ports.iter().filter(|own| own.protocol == port.protocol && own.name == port.name);
    let numbers: Vec<u16> = same.map(|own| own.number).collect();
    let mut sites = Vec::new();
    for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready == ready) {
        let (node, zone) = (endpoint.node.as_deref(), endpoint.zone.as_deref());
        let (distance, shared) = (around.distance(node, zone), around.node(node));
        let site = |ip, number| Site { address: SocketAddr::new(ip, number), distance, node: Arc::clone(&shared) };
        sites.extend(endpoint.addresses.first().iter().flat_map(|ip| numbers.iter().map(|number| site(**ip, *number))));
    }
    sites
}

fn pods(slices: &[SliceFacts]) -> Vec<(IpAddr, String)> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready);
    let pod = |endpoint: &SliceEndpoint| Some((*endpoint.addresses.first()?, endpoint.hostname.clone()));
    let mut pods: Vec<(IpAddr, String)> = endpoints.filter_map(pod).collect();
    pods.sort_unstable();
    pods.dedup();
    pods
}
