//! What the table needs of Services and EndpointSlices.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::Endpoint;
use wherry_api::ObjectKey;
use wherry_api::kinds::{EndpointSlice, Node, Service};
use wherry_api::well_known::ZONE;
use wherry_client::Projection;
use wherry_vnet::Protocol;

use super::surroundings::Spread;

/// The label that names a slice's Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A Service, reduced.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceFacts {
    /// `ExternalName`: the name it stands for.
    pub(crate) alias: Option<String>,
    /// `clusterIPs`; empty for headless ones.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<ServicePort>,
    /// `sessionAffinity: ClientIP`.
    pub(crate) sticky: bool,
    /// `trafficDistribution`: which endpoints come first.
    pub(crate) spread: Spread,
    /// `internalTrafficPolicy: Local`: connections from pods stay on their node.
    pub(crate) internal_is_local: bool,
    /// `externalTrafficPolicy: Local`: connections to node ports stay on theirs.
    pub(crate) external_is_local: bool,
}

/// A node's zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ZoneFacts(pub(crate) Option<String>);

/// A port of a Service.
#[derive(Clone, Debug)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
    /// 0 where it has none.
    pub(crate) node_port: u16,
}

/// An EndpointSlice, reduced.
#[derive(Clone, Debug, Default)]
pub(crate) struct SliceFacts {
    pub(crate) service: ObjectKey,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) endpoints: Vec<SliceEndpoint>,
}

/// A port of a slice; the name is that of the Service's port.
#[derive(Clone, Debug)]
pub(crate) struct SlicePort {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

/// An endpoint that serves in some way; those that do not are left out.
#[derive(Clone, Debug)]
pub(crate) struct SliceEndpoint {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) hostname: String,
    pub(crate) node: Option<String>,
    pub(crate) zone: Option<String>,
    /// False: it ends, and serves only where nobody else does.
    pub(crate) ready: bool,
}

impl Projection<Service> for ServiceFacts {
    fn project(service: Service) -> Self {
        let spec = service.spec.unwrap_or_default();
        let alias = if spec.type_.as_deref() == Some("ExternalName") { spec.external_name } else { None };
        let single = spec.cluster_ip.into_iter();
        let addresses = spec.cluster_ips.filter(|ips| !ips.is_empty()).unwrap_or_else(|| single.collect());
        let ports = spec.ports.unwrap_or_default().into_iter().filter_map(|port| {
            Some(ServicePort {
                name: port.name.unwrap_or_default(),
                protocol: protocol(port.protocol.as_deref())?,
                number: u16::try_from(port.port).ok()?,
                node_port: port.node_port.and_then(|port| port.try_into().ok()).unwrap_or(0),
            })
        });
        Self {
            alias,
            addresses: addresses.iter().filter_map(|ip| ip.parse().ok()).collect(),
            ports: ports.collect(),
            sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
            spread: spread(spec.traffic_distribution.as_deref()),
            internal_is_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_is_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        }
    }
}

impl Projection<Node> for ZoneFacts {
    fn project(node: Node) -> Self {
        Self(node.metadata.labels.and_then(|mut labels| labels.remove(ZONE)))
    }
}

impl Projection<EndpointSlice> for SliceFacts {
    fn project(slice: EndpointSlice) -> Self {
        let namespace = slice.metadata.namespace.unwrap_or_default();
        let name = slice.metadata.labels.unwrap_or_default().remove(SERVICE_NAME_LABEL).unwrap_or_default();
        let ports = slice.ports.unwrap_or_default().into_iter().filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            Some(SlicePort {
                name: port.name.unwrap_or_default(),
                protocol: protocol(port.protocol.as_deref())?,
                number,
            })
        });
        Self {
            service: ObjectKey::new(&namespace, &name),
            ports: ports.collect(),
            endpoints: slice.endpoints.unwrap_or_default().into_iter().filter_map(endpoint).collect(),
        }
    }
}

fn spread(distribution: Option<&str>) -> Spread {
    match distribution {
        Some("PreferSameNode") => Spread::SameNode,
        Some("PreferSameZone" | "PreferClose") => Spread::SameZone,
        _ => Spread::Even,
    }
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

/// Unknown conditions mean yes, as EndpointSlice says. Addresses of the machine itself would open the node's own
/// services, and are left out.
fn endpoint(endpoint: Endpoint) -> Option<SliceEndpoint> {
    let conditions = endpoint.conditions.unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let serves_while_ending = conditions.serving.unwrap_or(ready) && conditions.terminating.unwrap_or(false);
    let addresses = endpoint.addresses.iter().filter_map(|ip| Some(ip.parse::<IpAddr>().ok()?.to_canonical()));
    let addresses: Vec<IpAddr> = addresses.filter(|ip| !is_machines_own(*ip)).collect();
    let usable = (ready || serves_while_ending) && !addresses.is_empty();
    usable.then(|| SliceEndpoint {
        addresses,
        hostname: endpoint.hostname.unwrap_or_default(),
        node: endpoint.node_name,
        zone: endpoint.zone,
        ready,
    })
}

/// The API refuses these too; a node does not rely on that.
const fn is_machines_own(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    link_local || ip.is_loopback() || ip.is_unspecified()
}
