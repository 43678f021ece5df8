//! Faults of Services. Follows `k8s.io/kubernetes/pkg/apis/core/validation` (`ValidateService`).

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use crate::kinds::Service;
use crate::validate::names;
use crate::validate::path::{Faults, Path, unique};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const NODE_PORTS: std::ops::RangeInclusive<i32> = 30_000..=32_767;

pub(crate) fn service(service: &Service, faults: &mut Faults) {
    let at = Path::Root("spec");
    let Some(spec) = &service.spec else { return faults.required(&at, "") };
    faults.one_of(&at.field("type"), spec.type_.as_deref(), &TYPES);
    faults.one_of(&at.field("sessionAffinity"), spec.session_affinity.as_deref(), &["ClientIP", "None"]);
    super::meta::labels(spec.selector.as_ref(), &at.field("selector"), faults);
    ports(spec, &at, faults);
    if spec.type_.as_deref() == Some("ExternalName") {
        external_name(spec, &at, faults);
    }
    let is_address = |ip: &str| ip.is_empty() || ip == "None" || names::ip(ip).is_empty();
    if let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !is_address(ip)) {
        faults.invalid(&at.field("clusterIP"), ip, "must be empty, 'None', or a valid IP address");
    }
}

pub(crate) fn service_update(service: &Service, old: &Service, faults: &mut Faults) {
    let at = Path::Root("spec");
    let (Some(new), Some(old)) = (&service.spec, &old.spec) else { return };
    let external = |spec: &ServiceSpec| spec.type_.as_deref() == Some("ExternalName");
    let had = old.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty());
    if had && !external(new) && !external(old) {
        faults.immutable(&at.field("clusterIP"), &new.cluster_ip, &old.cluster_ip);
    }
}

fn external_name(spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    let name = spec.external_name.as_deref().unwrap_or_default().trim_end_matches('.');
    if name.is_empty() {
        faults.required(&at.field("externalName"), "");
    } else {
        faults.all(&at.field("externalName"), name, names::dns1123_subdomain(name));
    }
}

fn ports(spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    let at = at.field("ports");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let needs_none = spec.type_.as_deref() == Some("ExternalName") || spec.cluster_ip.as_deref() == Some("None");
    if ports.is_empty() && !needs_none {
        faults.required(&at, "");
    }
    for (index, port) in ports.iter().enumerate() {
        one_port(port, ports.len() > 1, &at.index(index), faults);
    }
    let named = ports.iter().map(|port| port.name.as_deref().unwrap_or_default());
    let mut again = Vec::new();
    unique(named.filter(|name| !name.is_empty()), |_, name| again.push(name));
    for name in again {
        faults.duplicate(&at.field("name"), name);
    }
}

fn one_port(port: &ServicePort, needs_name: bool, at: &Path<'_>, faults: &mut Faults) {
    match port.name.as_deref().unwrap_or_default() {
        "" if needs_name => faults.required(&at.field("name"), ""),
        "" => {}
        name => faults.all(&at.field("name"), name, names::dns1123_label(name)),
    }
    faults.all(&at.field("port"), port.port, names::port_number(port.port));
    faults.one_of(&at.field("protocol"), port.protocol.as_deref(), &PROTOCOLS);
    if let Some(number) = port.node_port.filter(|number| *number != 0 && !NODE_PORTS.contains(number)) {
        faults.invalid(
            &at.field("nodePort"),
            number,
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
        );
    }
    target(port, at, faults);
}

fn target(port: &ServicePort, at: &Path<'_>, faults: &mut Faults) {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let at = at.field("targetPort");
    match &port.target_port {
        Some(IntOrString::Int(number)) => faults.all(&at, *number, names::port_number(*number)),
        Some(IntOrString::String(name)) => faults.all(&at, name.as_str(), names::port_name(name)),
        None => {}
    }
}
