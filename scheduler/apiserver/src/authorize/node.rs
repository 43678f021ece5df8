//! What a node may do: Kubernetes' Node authorizer, for a kubelet that is also the proxy and the ingress of its machine.
//!
//! Follows `k8s.io/kubernetes/plugin/pkg/auth/authorizer/node`, and `system:node` and `system:node-proxier` of its bootstrap
//! policy. It differs in this: nodes read all Nodes (they open tunnels to each other), Ingresses and their classes, and of the
//! Secrets that Ingresses name those for TLS; and they create no pods.

use wherry_api::selector::Fields;
use wherry_api::well_known::{CLUSTER_INFO, REVOKED_CERTIFICATES, TLS_SECRET};
use wherry_api::{NodeLease, ObjectKey};

use super::{Attributes, Ruling};
use crate::node_graph::Referent;

/// What each node reads of all namespaces.
const READ: [&str; 7] = ["Node", "Service", "Endpoints", "EndpointSlice", "Ingress", "IngressClass", "RuntimeClass"];

pub(super) fn rule(node: &str, wanted: &Attributes<'_>) -> Ruling {
    let Attributes { verb, resource, subresource, .. } = *wanted;
    let is_reading = matches!(verb, "get" | "list" | "watch");
    match (resource.kind, subresource) {
        ("Secret", "") if is_reading => named(wanted, Referent::Secret),
        ("ConfigMap", "") if is_reading => named(wanted, Referent::ConfigMap),
        ("Pod", "") if is_reading => read_pods(node, wanted),
        ("Pod", "") if verb == "delete" => Ruling::IfBound(key(wanted, wanted.name)),
        ("Pod", "status") if matches!(verb, "update" | "patch") => Ruling::IfBound(key(wanted, wanted.name)),
        ("Pod", "eviction") if verb == "create" => Ruling::IfBound(key(wanted, wanted.name)),
        (kind, "") if is_reading && READ.contains(&kind) => Ruling::Allowed,
        ("Node", "" | "status") => only(matches!(verb, "create" | "update" | "patch") && is_own(node, wanted)),
        ("Lease", "") => only(matches!(verb, "get" | "create" | "update" | "patch") && is_own_lease(node, wanted)),
        ("Event", "") => only(matches!(verb, "create" | "update" | "patch")),
        ("CertificateSigningRequest", "") => only(is_reading || verb == "create"),
        _ => Ruling::Forbidden,
    }
}

const fn only(is_allowed: bool) -> Ruling {
    if is_allowed { Ruling::Allowed } else { Ruling::Forbidden }
}

/// The name of what is created is in its body: see `restriction`.
fn is_own(node: &str, wanted: &Attributes<'_>) -> bool {
    wanted.name == node || (wanted.verb == "create" && wanted.name.is_empty())
}

fn is_own_lease(node: &str, wanted: &Attributes<'_>) -> bool {
    wanted.namespace == Some(NodeLease::NAMESPACE) && is_own(node, wanted)
}

/// ConfigMaps and Secrets are read one by one: by name, or by a selector that names one in its namespace.
fn named(wanted: &Attributes<'_>, referent: Referent) -> Ruling {
    let Some(namespace) = wanted.namespace else { return Ruling::Forbidden };
    let name = if wanted.name.is_empty() { selected(wanted, "metadata.name") } else { Some(wanted.name.to_owned()) };
    match name {
        None => Ruling::Forbidden,
        Some(name) if referent == Referent::ConfigMap && is_for_all_nodes(namespace, &name) => Ruling::Allowed,
        Some(name) if referent == Referent::Secret && selected(wanted, "type").as_deref() == Some(TLS_SECRET) => {
            Ruling::IfReferred(Referent::TlsSecret, key(wanted, &name))
        }
        Some(name) => Ruling::IfReferred(referent, key(wanted, &name)),
    }
}

fn is_for_all_nodes(namespace: &str, name: &str) -> bool {
    [CLUSTER_INFO, REVOKED_CERTIFICATES].contains(&(namespace, name))
}

/// One pod by its name, or all that are bound to the node.
fn read_pods(node: &str, wanted: &Attributes<'_>) -> Ruling {
    if wanted.name.is_empty() {
        only(selected(wanted, "spec.nodeName").as_deref() == Some(node))
    } else {
        Ruling::IfBound(key(wanted, wanted.name))
    }
}

/// The only value of a field that the selector lets through.
fn selected(wanted: &Attributes<'_>, path: &str) -> Option<String> {
    let requirements = Fields::parse(wanted.fields).ok()?.0;
    requirements
        .into_iter()
        .find(|one| one.equal && one.path == path)
        .map(|one| one.value)
        .filter(|value| !value.is_empty())
}

fn key(wanted: &Attributes<'_>, name: &str) -> ObjectKey {
    ObjectKey::new(wanted.namespace.unwrap_or_default(), name)
}
