//! Cells of services, the endpoints behind them and the ingresses before them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::view::{NONE, age_of, list, name, number, pairs, size, some_of, text, text_or};

/// How many addresses, ports or hosts a cell shows before it counts the rest.
const SHOWN: usize = 3;

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let cluster_ip = match list(object, "/spec/clusterIPs").first().and_then(Value::as_str) {
        Some(ip) => ip,
        None => text_or(object, "/spec/clusterIP", NONE),
    };
    let selector: Vec<String> = pairs(object, "/spec/selector").iter().map(|(k, v)| format!("{k}={v}")).collect();
    vec![
        name(object),
        text(object, "/spec/type").into(),
        cluster_ip.into(),
        external_ip(object).into(),
        or_none(service_ports(object)).into(),
        age_of(object, now),
        or_none(selector.join(",")).into(),
    ]
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

fn external_ip(service: &Value) -> String {
    let external = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str);
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "ClusterIP" | "NodePort" => or_none(external.collect::<Vec<_>>().join(",")),
        "LoadBalancer" => {
            let all: Vec<&str> = balancer_addresses(service).into_iter().chain(external).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ => "<unknown>".to_owned(),
    }
}

fn balancer_addresses(object: &Value) -> BTreeSet<&str> {
    let ingress = list(object, "/status/loadBalancer/ingress").iter();
    ingress.map(|at| text_or(at, "/ip", text(at, "/hostname"))).filter(|at| !at.is_empty()).collect()
}

fn service_ports(service: &Value) -> String {
    let port = |port: &Value| {
        let (number, protocol) = (self::number(port, "/port"), text(port, "/protocol"));
        match self::number(port, "/nodePort") {
            node if node > 0 => format!("{number}:{node}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    list(service, "/spec/ports").iter().map(port).collect::<Vec<_>>().join(",")
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let all: Vec<String> = list(object, "/subsets").iter().flat_map(subset).collect();
    vec![name(object), some_of(&all, SHOWN, NONE).into(), age_of(object, now)]
}

fn subset(subset: &Value) -> Vec<String> {
    let addresses = || list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
    let ports = list(subset, "/ports");
    if ports.is_empty() {
        return addresses().map(str::to_owned).collect();
    }
    ports.iter().flat_map(|port| addresses().map(|ip| host_port(ip, number(port, "/port")))).collect()
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = list(object, "/ports").iter().map(slice_port).collect();
    let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    vec![
        name(object),
        text(object, "/addressType").into(),
        some_of(&ports, SHOWN, "<unset>").into(),
        some_of(&addresses, SHOWN, "<unset>").into(),
        age_of(object, now),
    ]
}

fn slice_port(port: &Value) -> String {
    match port.get("port").and_then(Value::as_i64) {
        Some(number) => number.to_string(),
        None => text_or(port, "/name", "*").to_owned(),
    }
}

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports = if size(object, "/spec/tls") == 0 { "80" } else { "80, 443" };
    let addresses: Vec<&str> = balancer_addresses(object).into_iter().collect();
    vec![
        name(object),
        text_or(object, "/spec/ingressClassName", NONE).into(),
        hosts(object).into(),
        addresses.join(",").into(),
        ports.into(),
        age_of(object, now),
    ]
}

fn hosts(ingress: &Value) -> String {
    let rules = list(ingress, "/spec/rules").iter().map(|rule| text(rule, "/host"));
    let hosts: Vec<String> = rules.filter(|host| !host.is_empty()).map(str::to_owned).collect();
    some_of(&hosts, SHOWN, "*")
}

pub(super) fn ingress_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = match object.pointer("/spec/parameters") {
        Some(reference @ Value::Object(_)) => parameters(reference),
        _ => NONE.to_owned(),
    };
    vec![name(object), text(object, "/spec/controller").into(), parameters.into(), age_of(object, now)]
}

fn parameters(reference: &Value) -> String {
    let (kind, name) = (text(reference, "/kind"), text(reference, "/name"));
    match text(reference, "/apiGroup") {
        "" => format!("{kind}/{name}"),
        group => format!("{kind}.{group}/{name}"),
    }
}
