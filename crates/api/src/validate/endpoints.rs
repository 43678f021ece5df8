//! Faults of Endpoints and EndpointSlices.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kinds::{EndpointSlice, Endpoints};
use crate::validate::names;
use crate::validate::path::{Faults, Path};

/// Kubernetes' limit of endpoints a slice.
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 100;

/// The API server's own, which on a cluster of one machine is at that machine's loopback. No node sends traffic there.
fn is_api_servers(meta: &ObjectMeta) -> bool {
    meta.namespace.as_deref() == Some("default") && meta.name.as_deref() == Some("kubernetes")
}

pub(crate) fn endpoints(endpoints: &Endpoints, faults: &mut Faults) {
    let root = Path::Root("subsets");
    let check = if is_api_servers(&endpoints.metadata) { names::ip } else { names::endpoint_ip };
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let at = root.index(index);
        for (field, list) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)] {
            let at = at.field(field);
            for (index, address) in list.iter().flatten().enumerate() {
                faults.all(&at.index(index).field("ip"), address.ip.as_str(), check(&address.ip));
            }
        }
        for (index, port) in subset.ports.iter().flatten().enumerate() {
            let at = at.field("ports");
            faults.all(&at.index(index).field("port"), port.port, names::port_number(port.port));
        }
    }
}

pub(crate) fn slice(slice: &EndpointSlice, faults: &mut Faults) {
    faults.one_of(&Path::Root("addressType"), Some(&slice.address_type), &["FQDN", "IPv4", "IPv6"]);
    let root = Path::Root("endpoints");
    let check = if is_api_servers(&slice.metadata) { names::ip } else { names::endpoint_ip };
    if slice.endpoints.as_ref().map_or(0, Vec::len) > ENDPOINTS_MAX {
        faults.too_long(&root, ENDPOINTS_MAX);
    }
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let at = root.index(index);
        let at = at.field("addresses");
        if endpoint.addresses.is_empty() {
            faults.required(&at, "must contain at least 1 address");
        }
        let is_ip = slice.address_type != "FQDN";
        for (index, address) in endpoint.addresses.iter().enumerate().filter(|_| is_ip) {
            faults.all(&at.index(index), address.as_str(), check(address));
        }
    }
    if slice.ports.as_ref().map_or(0, Vec::len) > PORTS_MAX {
        faults.too_long(&Path::Root("ports"), PORTS_MAX);
    }
}

pub(crate) fn slice_update(slice: &EndpointSlice, old: &EndpointSlice, faults: &mut Faults) {
    faults.immutable(&Path::Root("addressType"), &slice.address_type, &old.address_type);
}
