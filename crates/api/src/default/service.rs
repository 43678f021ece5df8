//! Defaults of services and of what lists their endpoints.

use k8s_openapi::api::core::v1::{ClientIPConfig, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::text;
use crate::kinds::{EndpointSlice, Endpoints, Service};

/// Seconds that a client stays with its endpoint under `sessionAffinity: ClientIP`.
const AFFINITY_SECONDS: i32 = 10_800;

/// Defaults of a service.
pub(crate) fn service(service: &mut Service) {
    let Some(spec) = &mut service.spec else { return };
    text(&mut spec.type_, "ClusterIP");
    text(&mut spec.session_affinity, "None");
    affinity(spec);
    let kind = spec.type_.as_deref().unwrap_or_default();
    let external = matches!(kind, "NodePort" | "LoadBalancer");
    if external {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if kind == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    if kind != "ExternalName" {
        text(&mut spec.internal_traffic_policy, "Cluster");
        text(&mut spec.ip_family_policy, "SingleStack");
        spec.ip_families.get_or_insert_with(|| vec!["IPv4".to_owned()]);
        same_address(spec);
    }
    for port in spec.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        if port.target_port.as_ref().is_none_or(is_nothing) {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
}

fn is_nothing(port: &IntOrString) -> bool {
    match port {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(name) => name.is_empty(),
    }
}

fn affinity(spec: &mut ServiceSpec) {
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
        let client = config.client_ip.get_or_insert_with(ClientIPConfig::default);
        client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
    }
}

/// `clusterIPs` lists the same address as `clusterIP`.
fn same_address(spec: &mut ServiceSpec) {
    let address = spec.cluster_ip.clone().filter(|ip| !ip.is_empty());
    let listed = spec.cluster_ips.as_ref().and_then(|ips| ips.first().cloned());
    match (address, listed) {
        (Some(address), None) => spec.cluster_ips = Some(vec![address]),
        (None, Some(listed)) => spec.cluster_ip = Some(listed),
        _ => {}
    }
}

/// What an update may leave out because the server chose it: addresses and node ports.
pub(crate) fn carry_over(new: &mut Service, old: &Service) {
    let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
    let addressed = |spec: &ServiceSpec| spec.type_.as_deref() != Some("ExternalName");
    if addressed(new) && addressed(old) && new.cluster_ip.as_deref().is_none_or(str::is_empty) {
        new.cluster_ip.clone_from(&old.cluster_ip);
        if new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    let outside = |spec: &ServiceSpec| matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    match (outside(new), outside(old)) {
        (true, true) => carry_node_ports(new, old),
        (false, true) => drop_node_ports(new, old),
        _ => {}
    }
    if !addressed(new) && addressed(old) && new.cluster_ip == old.cluster_ip {
        (new.cluster_ip, new.cluster_ips) = (None, None);
        (new.ip_families, new.ip_family_policy, new.internal_traffic_policy) = (None, None, None);
    }
}

/// A Service that no longer has ports of the host loses those that the client left as they were.
fn drop_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let had: Vec<Option<i32>> = old.ports.iter().flatten().map(|port| port.node_port).collect();
    for port in new.ports.iter_mut().flatten().filter(|port| had.contains(&port.node_port)) {
        port.node_port = None;
    }
    if new.external_traffic_policy == old.external_traffic_policy {
        new.external_traffic_policy = None;
    }
    if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
        new.allocate_load_balancer_node_ports = None;
    }
}

fn carry_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let taken: Vec<i32> = new.ports.iter().flatten().filter_map(|port| port.node_port).collect();
    for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.is_none_or(|p| p == 0)) {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let same = old
            .ports
            .iter()
            .flatten()
            .find(|before| before.port == port.port && before.protocol.as_deref().unwrap_or("TCP") == protocol);
        port.node_port = same.and_then(|before| before.node_port).filter(|p| !taken.contains(p));
    }
}

/// Defaults of an endpoints object.
pub(crate) fn endpoints(endpoints: &mut Endpoints) {
    let subsets = endpoints.subsets.iter_mut().flatten();
    subsets.flat_map(|subset| subset.ports.iter_mut().flatten()).for_each(|port| text(&mut port.protocol, "TCP"));
}

/// Defaults of an endpoint slice.
pub(crate) fn endpoint_slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        port.name.get_or_insert_default();
    }
}
