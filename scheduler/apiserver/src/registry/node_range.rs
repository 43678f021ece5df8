//! Pod ranges of Nodes (`spec.podCIDR`): the lowest part of the cluster's range that no other Node has. A Node that asks
//! for one of its own has it where it is free. A range is free again when its Node is deleted; where none is free, a
//! Node stays without, and each of its writes tries again.
//!
//! Kubernetes has a controller for this (`nodeipam`). Here the choice is part of the write, as a Service's address is,
//! so that a node knows its range with the answer to its registration.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use serde_json::{Value, json};
use wherry_api::kinds::{Kind, Node};
use wherry_api::{Error, Resource};

use super::object::meta;
use super::service::invalid;
use super::{Registry, RegistryConfig};

const FIELD: &str = "spec.podCIDR";

/// As much of a Node as matters here.
#[derive(Default, Deserialize)]
struct Peek {
    #[serde(default)]
    spec: PeekSpec,
}

#[derive(Default, Deserialize)]
struct PeekSpec {
    #[serde(default, rename = "podCIDR")]
    pod_cidr: Option<String>,
}

/// Whether an object, as it is now, is a Node that has no range yet.
pub(super) fn lacks_range(resource: &'static Resource, present: Option<&Value>) -> bool {
    std::ptr::eq(resource, Node::resource()) && present.is_none_or(|present| asked(present).is_empty())
}

/// Gives a Node a range, or finds the one that it asks for to be free.
pub(super) fn allocate(registry: &Registry, resource: &'static Resource, node: &mut Value) -> Result<(), Error> {
    let taken = taken(registry, meta(node, "name"));
    let wanted = asked(node).to_owned();
    let range = if wanted.is_empty() {
        let Some(free) = free(&registry.inner.config, &taken) else { return Ok(()) };
        free.to_string()
    } else {
        let fault = |why: &str| Err(invalid(resource, node, FIELD, &wanted, why));
        let Ok(range) = wanted.parse::<IpNet>() else { return fault("must be a valid CIDR") };
        if let Some((_, name)) = taken.iter().find(|(other, _)| overlap(&range, other)) {
            return fault(&format!("overlaps the range of node \"{name}\""));
        }
        wanted
    };
    if let Some(map) = node.as_object_mut()
        && let Some(spec) = map.entry("spec").or_insert_with(|| json!({})).as_object_mut()
    {
        spec.insert("podCIDRs".into(), json!([range]));
        spec.insert("podCIDR".into(), range.into());
    }
    Ok(())
}

fn asked(node: &Value) -> &str {
    node.pointer("/spec/podCIDR").and_then(Value::as_str).unwrap_or_default()
}

/// The ranges of all Nodes but this one, and whose they are.
fn taken(registry: &Registry, own: &str) -> Vec<(IpNet, String)> {
    let nodes = registry.store().snapshot(Node::resource());
    let others = nodes.objects.iter().filter(|(key, _)| *key.name != *own);
    let ranges = others.filter_map(|(key, entry)| {
        let peek: Peek = serde_json::from_slice(&entry.json).unwrap_or_default();
        Some((peek.spec.pod_cidr?.parse().ok()?, key.name.to_string()))
    });
    ranges.collect()
}

/// The lowest range of the usual size that overlaps none.
fn free(config: &RegistryConfig, taken: &[(IpNet, String)]) -> Option<IpNet> {
    let IpNet::V4(cluster) = config.cluster_cidr else { return None };
    let size = 1_u64 << (32 - u32::from(config.node_prefix.max(cluster.prefix_len()).min(32)));
    let (mut at, end) = (u64::from(u32::from(cluster.network())), u64::from(u32::from(cluster.broadcast())));
    while at < end {
        let first = Ipv4Addr::from(u32::try_from(at).ok()?);
        let range = IpNet::V4(Ipv4Net::new(first, config.node_prefix.max(cluster.prefix_len())).ok()?);
        let Some(last) = taken.iter().filter(|(other, _)| overlap(&range, other)).map(|(other, _)| last(other)).max()
        else {
            return Some(range);
        };
        // On from the end of what is in the way, at the next place where such a range may begin.
        at = (last + 1).next_multiple_of(size).max(at + size);
    }
    None
}

fn last(range: &IpNet) -> u64 {
    if let IpNet::V4(range) = range { u64::from(u32::from(range.broadcast())) } else { 0 }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: u8, taken: &[&str], expected: Option<&str>) {
        let cluster_cidr = "10.0.0.0/16".parse().unwrap();
        let config = RegistryConfig { cluster_cidr, node_prefix: prefix, ..RegistryConfig::default() };
        let taken: Vec<_> = taken.iter().map(|range| (range.parse().unwrap(), String::new())).collect();
        assert_eq!(free(&config, &taken).map(|range| range.to_string()).as_deref(), expected, "{taken:?}");
    }

    #[test]
    fn the_lowest_free_range_is_given_out() {
        check(24, &[], Some("10.0.0.0/24"));
        check(24, &["10.0.0.0/24", "10.0.2.0/24"], Some("10.0.1.0/24"));
        check(24, &["10.0.0.0/24", "10.0.1.0/24"], Some("10.0.2.0/24"));
        // Ranges of other sizes, as of a cluster that was started with another size.
        check(24, &["10.0.0.0/18"], Some("10.0.64.0/24"));
        check(18, &["10.0.0.128/25"], Some("10.0.64.0/18"));
        check(18, &["10.0.0.0/24", "10.0.64.0/18", "10.0.128.0/17"], None);
        check(12, &[], Some("10.0.0.0/16"));
        check(24, &["192.168.0.0/24", "fd00::/64"], Some("10.0.0.0/24"));
    }
}
