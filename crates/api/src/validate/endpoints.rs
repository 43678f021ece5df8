//! Faults of Endpoints and EndpointSlices.

use crate::kinds::{EndpointSlice, Endpoints};
use crate::validate::names;
use crate::validate::path::{Faults, Path};

/// Kubernetes' limit of endpoints a slice.
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 100;

pub(crate) fn endpoints(endpoints: &Endpoints, faults: &mut Faults) {
    let root = Path::Root("subsets");
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let at = root.index(index);
        for (field, list) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)] {
            let at = at.field(field);
            for (index, address) in list.iter().flatten().enumerate() {
                faults.all(&at.index(index).field("ip"), address.ip.as_str(), names::ip(&address.ip));
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
            faults.all(&at.index(index), address.as_str(), names::ip(address));
        }
    }
    if slice.ports.as_ref().map_or(0, Vec::len) > PORTS_MAX {
        faults.too_long(&Path::Root("ports"), PORTS_MAX);
    }
}

pub(crate) fn slice_update(slice: &EndpointSlice, old: &EndpointSlice, faults: &mut Faults) {
    faults.immutable(&Path::Root("addressType"), &slice.address_type, &old.address_type);
}
