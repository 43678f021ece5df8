//! Faults of Endpoints and EndpointSlices.

use k8s_openapi::api::discovery::v1::EndpointPort;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kinds::{EndpointSlice, Endpoints};
use crate::validate::names;
use crate::validate::path::{Faults, Path, unique};

/// Kubernetes' limit of endpoints a slice.
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 100;
const ADDRESSES_MAX: usize = 100;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The API server's own, which on a cluster of one machine is at that machine's loopback. No node sends traffic there. Masters at
/// several ports have slices `kubernetes-PORT` besides.
fn is_api_servers(meta: &ObjectMeta) -> bool {
    let rest = meta.name.as_deref().and_then(|name| name.strip_prefix("kubernetes"));
    let is_port = |rest: &str| rest.strip_prefix('-').is_some_and(|port| port.parse::<u16>().is_ok());
    meta.namespace.as_deref() == Some("default") && rest.is_some_and(|rest| rest.is_empty() || is_port(rest))
}

pub(crate) fn endpoints(endpoints: &Endpoints, faults: &mut Faults) {
    let root = Path::Root("subsets");
    let check = if is_api_servers(&endpoints.metadata) { names::ip } else { names::endpoint_ip };
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let at = root.index(index);
        let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
        if count(&subset.addresses) + count(&subset.not_ready_addresses) == 0 {
            faults.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (field, list) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)] {
            let at = at.field(field);
            for (index, address) in list.iter().flatten().enumerate() {
                faults.all(&at.index(index).field("ip"), address.ip.as_str(), check(&address.ip));
            }
        }
        for (index, port) in subset.ports.iter().flatten().enumerate() {
            let at = at.field("ports");
            let at = at.index(index);
            faults.all(&at.field("port"), port.port, names::port_number(port.port));
            faults.one_of(&at.field("protocol"), port.protocol.as_deref(), &PROTOCOLS);
            match port.name.as_deref().unwrap_or_default() {
                "" if subset.ports.as_ref().map_or(0, Vec::len) > 1 => faults.required(&at.field("name"), ""),
                "" => {}
                name => faults.all(&at.field("name"), name, names::dns1123_label(name)),
            }
        }
    }
}

pub(crate) fn slice(slice: &EndpointSlice, faults: &mut Faults) {
    faults.one_of(&Path::Root("addressType"), Some(&slice.address_type), &["FQDN", "IPv4", "IPv6"]);
    let root = Path::Root("endpoints");
    let check = if is_api_servers(&slice.metadata) { names::ip } else { names::endpoint_ip };
    if slice.endpoints.as_ref().map_or(0, Vec::len) > ENDPOINTS_MAX {
        faults.too_many(&root, slice.endpoints.as_ref().map_or(0, Vec::len), ENDPOINTS_MAX);
    }
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let at = root.index(index);
        let at = at.field("addresses");
        match endpoint.addresses.len() {
            0 => faults.required(&at, "must contain at least 1 address"),
            1..=ADDRESSES_MAX => {}
            _ => faults.too_many(&at, endpoint.addresses.len(), ADDRESSES_MAX),
        }
        let is_ip = slice.address_type != "FQDN";
        for (index, address) in endpoint.addresses.iter().enumerate().filter(|_| is_ip) {
            faults.all(&at.index(index), address.as_str(), check(address));
        }
    }
    slice_ports(slice.ports.as_deref().unwrap_or_default(), faults);
}

fn slice_ports(ports: &[EndpointPort], faults: &mut Faults) {
    let root = Path::Root("ports");
    if ports.len() > PORTS_MAX {
        faults.too_many(&root, ports.len(), PORTS_MAX);
    }
    for (index, port) in ports.iter().enumerate() {
        let at = root.index(index);
        faults.one_of(&at.field("protocol"), port.protocol.as_deref(), &PROTOCOLS);
        if let Some(number) = port.port {
            faults.all(&at.field("port"), number, names::port_number(number));
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            faults.all(&at.field("name"), name, names::dns1123_label(name));
        }
    }
    unique(ports.iter().map(|port| port.name.as_deref().unwrap_or_default()), |index, name| {
        faults.duplicate(&root.index(index).field("name"), name);
    });
}

pub(crate) fn slice_update(slice: &EndpointSlice, old: &EndpointSlice, faults: &mut Faults) {
    faults.immutable(&Path::Root("addressType"), &slice.address_type, &old.address_type);
}
