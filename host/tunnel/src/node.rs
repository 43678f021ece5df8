//! A Node as its peers see it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use wherry_api::kinds::Node;
use wherry_api::taint::UNREACHABLE;
use wherry_api::well_known::BEHIND_NAT;
use wherry_client::Projection;

/// How many ranges of a node are looked at.
const RANGES_MAX: usize = 8;

/// How the pods of a node are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The ranges of its pods.
    pub ranges: Vec<IpNet>,
    /// Where it takes connections of other nodes: where its endpoints for the API server are. `None`: it cannot be
    /// connected to, and connects to the others itself (`offer`).
    pub endpoint: Option<SocketAddr>,
}

/// A Node, reduced. `None`: it cannot be reached, as long as it is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFacts(pub(crate) Option<Reach>);

impl Projection<Node> for NodeFacts {
    fn project(node: Node) -> Self {
        Self(reach(node))
    }
}

fn reach(node: Node) -> Option<Reach> {
    let spec = node.spec.unwrap_or_default();
    if spec.taints.iter().flatten().any(|taint| taint.key == UNREACHABLE) {
        return None;
    }
    let is_behind_nat =
        node.metadata.labels.iter().flatten().any(|(label, value)| label == BEHIND_NAT && value == "true");
    let single = spec.pod_cidr.into_iter();
    let ranges = spec.pod_cidrs.filter(|ranges| !ranges.is_empty()).unwrap_or_else(|| single.collect());
    let status = node.status.unwrap_or_default();
    let internal = status.addresses.into_iter().flatten().find(|address| address.type_ == "InternalIP")?;
    let ip: IpAddr = internal.address.parse().ok()?;
    let port = u16::try_from(status.daemon_endpoints?.kubelet_endpoint?.port).ok().filter(|port| *port != 0)?;
    let ranges = ranges.iter().take(RANGES_MAX).filter_map(|range| range.parse().ok()).collect();
    Some(Reach { ranges, endpoint: (!is_behind_nat).then(|| SocketAddr::new(ip, port)) })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{self, Value, json};

    use super::*;

    fn project(spec: Value, status: Value) -> Option<String> {
        reached(json!({"metadata": {"name": "b"}, "spec": spec, "status": status}))
    }

    fn reached(node: Value) -> Option<String> {
        let Reach { ranges, endpoint } = NodeFacts::project(serde_json::from_value(node).unwrap()).0?;
        let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        let at = endpoint.map_or_else(|| "nowhere".to_owned(), |endpoint| endpoint.to_string());
        Some(format!("{} at {at}", ranges.join(" ")))
    }

    #[test]
    fn a_node_is_reached_where_it_says_unless_it_is_lost() {
        let status = json!({
            "addresses": [{"type": "Hostname", "address": "b"}, {"type": "InternalIP", "address": "127.0.0.2"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        });
        let spec = json!({"podCIDR": "10.129.0.0/16", "podCIDRs": ["10.129.0.0/16", "nonsense"]});
        assert_eq!(project(spec, status.clone()).as_deref(), Some("10.129.0.0/16 at 127.0.0.2:10250"));
        let cordoned = json!({"podCIDR": "10.129.0.0/16", "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]});
        assert_eq!(project(cordoned, status.clone()).as_deref(), Some("10.129.0.0/16 at 127.0.0.2:10250"));
        let hidden = json!({
            "metadata": {"name": "b", "labels": {"wherry.dev/behind-nat": "true"}}, "spec": {"podCIDR": "10.129.0.0/16"}, "status": status,
        });
        assert_eq!(reached(hidden).as_deref(), Some("10.129.0.0/16 at nowhere"));
        let lost = json!({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]});
        assert_eq!(project(lost, status), None);
        assert_eq!(project(json!({}), json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.2"}]})), None);
    }
}
