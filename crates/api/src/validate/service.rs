//! Faults of Services. Follows `k8s.io/kubernetes/pkg/apis/core/validation` (`ValidateService`).

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use crate::kinds::Service;
use crate::validate::names;
use crate::validate::path::{Faults, Path, unique};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const NODE_PORTS: std::ops::RangeInclusive<i32> = 30_000..=32_767;
/// How long a client may stay with its endpoint: a day.
const AFFINITY_SECONDS: std::ops::RangeInclusive<i32> = 1..=86_400;

pub(crate) fn service(service: &Service, faults: &mut Faults) {
    let at = Path::Root("spec");
    let Some(spec) = &service.spec else { return faults.required(&at, "") };
    faults.one_of(&at.field("type"), spec.type_.as_deref(), &TYPES);
    super::meta::labels(spec.selector.as_ref(), &at.field("selector"), faults);
    affinity(spec, &at, faults);
    ports(spec, &at, faults);
    addresses(spec, &at, faults);
    families(spec, &at, faults);
    policies(spec, &at, faults);
    if kind(spec) == "ExternalName" {
        external_name(spec, &at, faults);
    }
}

pub(crate) fn service_update(service: &Service, old: &Service, faults: &mut Faults) {
    let at = Path::Root("spec");
    let (Some(new), Some(old)) = (&service.spec, &old.spec) else { return };
    let had = old.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty());
    if had && kind(new) != "ExternalName" && kind(old) != "ExternalName" {
        faults.immutable(&at.field("clusterIP"), &new.cluster_ip, &old.cluster_ip);
    }
}

fn kind(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

/// Whether the Service has ports of the host.
fn is_outside(spec: &ServiceSpec) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

fn affinity(spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    faults.one_of(&at.field("sessionAffinity"), spec.session_affinity.as_deref(), &["ClientIP", "None"]);
    let at = at.field("sessionAffinityConfig");
    let Some(config) = &spec.session_affinity_config else { return };
    if spec.session_affinity.as_deref() == Some("None") {
        return faults.forbidden(&at, "must not be set when session affinity is None");
    }
    let seconds = config.client_ip.as_ref().and_then(|client| client.timeout_seconds);
    if let Some(seconds) = seconds.filter(|seconds| !AFFINITY_SECONDS.contains(seconds)) {
        let at = at.field("clientIP");
        faults.invalid(&at.field("timeoutSeconds"), seconds, "must be greater than 0 and less than 86400");
    }
}

fn addresses(spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    let (own, list) = (spec.cluster_ip.as_deref().unwrap_or_default(), at.field("clusterIPs"));
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    match (own, listed.first()) {
        ("", Some(_)) => faults.required(&at.field("clusterIP"), "must be set when `clusterIPs` is set"),
        (own, Some(first)) if own != first => {
            faults.invalid(&list.index(0), first, "first value must match `clusterIP`");
        }
        _ => {}
    }
    match own {
        "" => {}
        _ if kind(spec) == "ExternalName" => faults.forbidden(&list, "may not be set when `type` is 'ExternalName'"),
        "None" if is_outside(spec) => {
            let why = format!("may not be set to 'None' for {} services", kind(spec));
            faults.invalid(&list.index(0), "None", &why);
        }
        "None" => {}
        ip if !names::ip(ip).is_empty() => {
            faults.invalid(&at.field("clusterIP"), ip, "must be empty, 'None', or a valid IP address");
        }
        _ => {}
    }
    if listed.len() > 1 {
        faults.invalid(&list, listed, "may hold no more than one address: the cluster's network is IPv4 only");
    }
    let external = at.field("externalIPs");
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        faults.all(&external.index(index), ip, names::endpoint_ip(ip));
    }
}

/// The cluster's network is IPv4 only.
fn families(spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = spec.ip_family_policy.as_deref();
    faults.one_of(&at.field("ipFamilyPolicy"), policy, &POLICIES);
    if policy == Some("RequireDualStack") {
        let why = "this cluster is not configured for dual-stack services";
        faults.invalid(&at.field("ipFamilyPolicy"), policy, why);
    }
    let list = at.field("ipFamilies");
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        match family.as_str() {
            "IPv4" => {}
            "IPv6" => faults.invalid(&list.index(index), family, "not configured on this cluster"),
            other => faults.unsupported(&list.index(index), other, &["IPv4", "IPv6"]),
        }
    }
}

fn policies(spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    const TRAFFIC: [&str; 2] = ["Cluster", "Local"];
    const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    let external = spec.external_traffic_policy.as_deref().filter(|policy| !policy.is_empty());
    match external {
        Some(policy) if !is_outside(spec) && spec.external_ips.as_ref().is_none_or(Vec::is_empty) => {
            let why = "may only be set for externally-accessible services";
            faults.invalid(&at.field("externalTrafficPolicy"), policy, why);
        }
        policy => faults.one_of(&at.field("externalTrafficPolicy"), policy, &TRAFFIC),
    }
    faults.one_of(&at.field("internalTrafficPolicy"), spec.internal_traffic_policy.as_deref(), &TRAFFIC);
    faults.one_of(&at.field("trafficDistribution"), spec.traffic_distribution.as_deref(), &DISTRIBUTIONS);
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
    let needs_none = kind(spec) == "ExternalName" || spec.cluster_ip.as_deref() == Some("None");
    if ports.is_empty() && !needs_none {
        faults.required(&at, "");
    }
    for (index, port) in ports.iter().enumerate() {
        one_port(port, ports.len() > 1, &at.index(index), faults);
        if let Some(number) = port.node_port.filter(|number| *number != 0) {
            node_port(number, spec, &at.index(index), faults);
        }
    }
    unique(ports.iter().map(|port| port.name.as_deref().unwrap_or_default()), |index, name| {
        if !name.is_empty() {
            faults.duplicate(&at.index(index).field("name"), name);
        }
    });
    each_once(ports, &at, faults);
}

/// A port is served once a protocol, and so is a port of the host.
fn each_once(ports: &[ServicePort], at: &Path<'_>, faults: &mut Faults) {
    let (mut own, mut hosts) = (HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !own.insert((protocol, port.port)) {
            faults.duplicate(&at.index(index), json!({"protocol": protocol, "port": port.port}));
        }
        if let Some(number) = port.node_port.filter(|number| *number != 0)
            && !hosts.insert((protocol, number))
        {
            faults.duplicate(&at.index(index).field("nodePort"), number);
        }
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
    let at = at.field("targetPort");
    match &port.target_port {
        Some(IntOrString::Int(number)) => faults.all(&at, *number, names::port_number(*number)),
        Some(IntOrString::String(name)) => faults.all(&at, name.as_str(), names::port_name(name)),
        None => {}
    }
}

fn node_port(number: i32, spec: &ServiceSpec, at: &Path<'_>, faults: &mut Faults) {
    let at = at.field("nodePort");
    if !is_outside(spec) {
        faults.forbidden(&at, &format!("may not be used when `type` is '{}'", kind(spec)));
    } else if !NODE_PORTS.contains(&number) {
        let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
        faults.invalid(&at, number, why);
    }
}
