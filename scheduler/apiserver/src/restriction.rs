//! What a node may not write even where it may write: Kubernetes' `NodeRestriction` admission.
//!
//! A node creates only its own Node and Lease, requests certificates for itself only, and does not steer pods to itself by
//! taints or by labels that are not a kubelet's to set. Follows `k8s.io/kubernetes/plugin/pkg/admission/noderestriction`.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use wherry_api::well_known::NODE_USER;
use wherry_api::{Error, Reason, Resource};
use wherry_pki::SigningRequest;

/// The namespace of labels that administrators give nodes to keep pods to some.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// The labels of Kubernetes' own namespaces that a kubelet may set.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// The namespaces of labels that are a kubelet's.
const KUBELET_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The signers of what a node presents.
const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

/// What a node is about to create.
pub(crate) fn check_new(node: &str, resource: &Resource, object: &Value) -> Result<(), Error> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let refuse = |why: String| Err(refusal(resource, name, &why));
    match resource.kind {
        "Node" | "Lease" if name != node => refuse(format!("node \"{node}\" is not allowed to create it")),
        "Node" => match forbidden_labels(None, Some(object)) {
            labels if labels.is_empty() => Ok(()),
            labels => refuse(format!("is not allowed to set the following labels: {labels}")),
        },
        "CertificateSigningRequest" if !is_for(node, object) => {
            refuse(format!("can only create a node CSR with CN={NODE_USER}{node}"))
        }
        _ => Ok(()),
    }
}

/// What a node is about to make of an object that is there.
pub(crate) fn check_change(node: &str, resource: &Resource, before: &Value, after: &Value) -> Result<(), Error> {
    if resource.kind != "Node" {
        return Ok(());
    }
    let refuse = |why: String| Err(refusal(resource, node, &why));
    let same = |pointer| list(before, pointer) == list(after, pointer);
    if !same("/spec/taints") {
        return refuse(format!("node \"{node}\" is not allowed to modify taints"));
    }
    if !same("/metadata/ownerReferences") {
        return refuse(format!("node \"{node}\" is not allowed to modify ownerReferences"));
    }
    match forbidden_labels(Some(before), Some(after)) {
        labels if labels.is_empty() => Ok(()),
        labels => refuse(format!("is not allowed to modify labels: {labels}")),
    }
}

fn refusal(resource: &Resource, name: &str, why: &str) -> Error {
    let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
    Error::new(Reason::Forbidden, message).about(resource.group, resource.plural, name)
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The labels that differ and are not a node's to set.
fn forbidden_labels(before: Option<&Value>, after: Option<&Value>) -> String {
    let labels = |object: Option<&Value>| {
        let map = object.and_then(|object| object.pointer("/metadata/labels")).and_then(Value::as_object);
        map.cloned().unwrap_or_default()
    };
    let (before, after) = (labels(before), labels(after));
    let changed: BTreeSet<&String> =
        before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).collect();
    let forbidden: Vec<&str> = changed.into_iter().map(String::as_str).filter(|label| !is_nodes_own(label)).collect();
    forbidden.join(", ")
}

fn is_nodes_own(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let is_within =
        |outer: &str| namespace == outer || namespace.strip_suffix(outer).is_some_and(|rest| rest.ends_with('.'));
    if is_within(RESTRICTED) {
        return false;
    }
    let is_kubernetes = is_within("kubernetes.io") || is_within("k8s.io");
    !is_kubernetes || KUBELET_LABELS.contains(&label) || KUBELET_NAMESPACES.into_iter().any(is_within)
}

/// Whether a request is for the node's own certificate, or for none of a node.
fn is_for(node: &str, request: &Value) -> bool {
    let text = |pointer| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if !NODE_SIGNERS.contains(&text("/spec/signerName")) {
        return true;
    }
    let pem = BASE64_STANDARD.decode(text("/spec/request")).ok().and_then(|pem| String::from_utf8(pem).ok());
    let asked = pem.and_then(|pem| SigningRequest::from_pem(&pem).ok());
    asked.is_some_and(|asked| asked.user.strip_prefix(NODE_USER) == Some(node))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wherry_api::RESOURCES;
    use wherry_pki::Subject;

    use super::*;

    #[track_caller]
    fn check(found: Result<(), Error>, expected: &str) {
        let found = found.err().map(|error| error.to_string()).unwrap_or_default();
        let found = found.split_once("is forbidden: ").map_or(&*found, |(_, why)| why);
        assert_eq!(found, expected);
    }

    fn row(kind: &str) -> &'static Resource {
        RESOURCES.iter().find(|row| row.kind == kind).unwrap()
    }

    #[test]
    fn a_node_creates_what_is_its_own() {
        let new = |kind, object| check_new("n", row(kind), &object);
        let named = |name| json!({"metadata": {"name": name}});
        check(new("Node", named("n")), "");
        check(new("Node", named("m")), "node \"n\" is not allowed to create it");
        check(new("Lease", named("m")), "node \"n\" is not allowed to create it");
        check(new("Event", named("m")), "");
        let request = |user: &str, signer: &str| {
            let subject = Subject { user, group: Some("system:nodes"), names: &[] };
            let pem = wherry_pki::request(&wherry_pki::new_key().unwrap(), &subject).unwrap();
            json!({"spec": {"request": BASE64_STANDARD.encode(pem), "signerName": format!("kubernetes.io/{signer}")}})
        };
        let foreign = "can only create a node CSR with CN=system:node:n";
        check(new("CertificateSigningRequest", request("system:node:n", "kubelet-serving")), "");
        check(new("CertificateSigningRequest", request("system:node:m", "kubelet-serving")), foreign);
        check(new("CertificateSigningRequest", request("n", "kube-apiserver-client-kubelet")), foreign);
        check(new("CertificateSigningRequest", request("n", "kube-apiserver-client")), "");
    }

    #[test]
    fn a_node_sets_a_kubelets_labels() {
        let labelled = |label: &str| json!({"metadata": {"name": "n", "labels": {label: "x"}}});
        let refused = |label: &str| {
            let (set, modify) = ("is not allowed to set the following labels", "is not allowed to modify labels");
            check(check_new("n", row("Node"), &labelled(label)), &format!("{set}: {label}"));
            let (with, without) = (labelled(label), json!({"metadata": {"name": "n"}}));
            check(check_change("n", row("Node"), &without, &with), &format!("{modify}: {label}"));
            check(check_change("n", row("Node"), &with, &without), &format!("{modify}: {label}"));
            check(check_change("n", row("Node"), &with, &with), "");
        };
        for label in ["node-restriction.kubernetes.io/a", "x.node-restriction.kubernetes.io/a", "k8s.io/a"] {
            refused(label);
        }
        ["node-role.kubernetes.io/control-plane", "kubernetes.io/a"].into_iter().for_each(refused);
        for label in ["disk", "wherry.dev/a", "mykubernetes.io/a", "kubernetes.io/os", "x.node.kubernetes.io/a"] {
            check(check_new("n", row("Node"), &labelled(label)), "");
        }
    }

    #[test]
    fn a_node_leaves_its_taints_alone() {
        let tainted = |taints: Value| json!({"metadata": {"name": "n"}, "spec": {"taints": taints}});
        let one = json!([{"key": "a", "effect": "NoSchedule"}]);
        let change = |before: &Value, after: &Value| {
            check_change("n", row("Node"), &tainted(before.clone()), &tainted(after.clone()))
        };
        check(check_new("n", row("Node"), &tainted(one.clone())), "");
        check(change(&one, &one), "");
        check(change(&json!([]), &Value::Null), "");
        check(change(&one, &json!([])), "node \"n\" is not allowed to modify taints");
        let owned = json!({"metadata": {"ownerReferences": [{"name": "x"}]}});
        check(
            check_change("n", row("Node"), &json!({}), &owned),
            "node \"n\" is not allowed to modify ownerReferences",
        );
    }
}
