//! Who may do what: administrators everything, nodes what a kubelet needs, who joins what it takes to become one,
//! everybody else nothing.
//!
//! Role-based access is not served yet; the groups are those of Kubernetes, so that it can take this place.

use wherry_api::well_known::{BOOTSTRAP_TOKEN_PREFIX, BOOTSTRAPPERS, CLUSTER_INFO, NO_BOOTSTRAP_TOKENS};
use wherry_api::{Error, Reason, Resource};

use crate::identity::Identity;

const ADMINISTRATORS: &str = "system:masters";
/// The selectors by which a node may look at Secrets of all namespaces: those that leave out the bootstrap tokens.
const SECRET_SELECTORS: [&str; 2] = ["type=kubernetes.io/tls", NO_BOOTSTRAP_TOKENS];

/// What somebody wants to do.
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) resource: &'a Resource,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    /// The field selector of lists and watches.
    pub(crate) fields: &'a str,
}

/// Says nothing where it is allowed, and a 403 in Kubernetes' words where it is not.
pub(crate) fn authorize(identity: &Identity, wanted: &Attributes<'_>) -> Result<(), Error> {
    let member = |group: &str| identity.groups.iter().any(|own| own == group);
    let is_allowed = member(ADMINISTRATORS)
        || identity.node_name().is_some_and(|node| node_may(node, wanted))
        || (member(BOOTSTRAPPERS) && bootstrapper_may(wanted));
    if is_allowed {
        return Ok(());
    }
    let Attributes { verb, resource, subresource, namespace, name, .. } = wanted;
    let slash = if subresource.is_empty() { "" } else { "/" };
    let scope = namespace.map_or_else(|| "at the cluster scope".to_owned(), |n| format!("in the namespace \"{n}\""));
    let object = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let message = format!(
        "{}{object} is forbidden: User \"{}\" cannot {verb} resource \"{}{slash}{subresource}\" in API group \"{}\" {scope}",
        resource.qualified(),
        identity.user,
        resource.plural,
        resource.group
    );
    Err(Error::new(Reason::Forbidden, message).about(resource.group, resource.plural, name))
}

/// Says nothing to administrators, and a 403 to everybody else.
pub(crate) fn administer(identity: &Identity, what: &str) -> Result<(), Error> {
    if identity.groups.iter().any(|group| group == ADMINISTRATORS) {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" may not read or write {what}", identity.user);
    Err(Error::new(Reason::Forbidden, message))
}

/// Nodes read what pods need, and write about themselves.
fn node_may(node: &str, wanted: &Attributes<'_>) -> bool {
    // The name of what is created is in its body, see `Identity::check_new`.
    let is_own = wanted.name == node || (wanted.verb == "create" && wanted.name.is_empty());
    match (wanted.verb, wanted.resource.kind) {
        ("get" | "list" | "watch", "Secret") => reads_harmless_secret(wanted),
        ("get" | "list" | "watch", _) | ("delete", "Pod") => true,
        ("create" | "update" | "patch", "Node" | "Lease") => is_own,
        ("create" | "update" | "patch", "Event") => true,
        ("create", "CertificateSigningRequest") => wanted.subresource.is_empty(),
        ("update" | "patch", "Pod") => wanted.subresource == "status",
        _ => false,
    }
}

/// Whoever has a bootstrap token could join as any node.
fn reads_harmless_secret(wanted: &Attributes<'_>) -> bool {
    if wanted.name.is_empty() {
        wanted.fields.split(',').any(|selector| SECRET_SELECTORS.contains(&selector))
    } else {
        !wanted.name.starts_with(BOOTSTRAP_TOKEN_PREFIX)
    }
}

/// Who joins asks for a certificate, follows what becomes of the request, and learns what the cluster agrees on.
fn bootstrapper_may(wanted: &Attributes<'_>) -> bool {
    match (wanted.verb, wanted.resource.kind) {
        ("create" | "get" | "list" | "watch", "CertificateSigningRequest") => wanted.subresource.is_empty(),
        ("get", "ConfigMap") => (wanted.namespace.unwrap_or_default(), wanted.name) == CLUSTER_INFO,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use wherry_api::Kind;
    use wherry_api::kinds::Secret;

    use super::*;

    #[track_caller]
    fn check(identity: &Identity, wanted: &str, expected: bool) {
        let words: Vec<&str> = wanted.split(' ').collect();
        let [verb, plural, name] = words[..] else { panic!("VERB PLURAL[/SUBRESOURCE] NAME: {wanted}") };
        let (name, fields) = name.split_once('?').unwrap_or((name, ""));
        let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
        let resource = wherry_api::RESOURCES.iter().find(|row| row.plural == plural).unwrap();
        let namespace = resource.namespaced.then_some("kube-public");
        let name = if name == "-" { "" } else { name };
        let found = authorize(identity, &Attributes { verb, resource, subresource, namespace, name, fields });
        assert_eq!(found.is_ok(), expected, "{}: {wanted}", identity.user);
    }

    #[test]
    fn nodes_write_about_themselves_only() {
        let node = Identity::node("n");
        for allowed in [
            "patch pods/status x",
            "patch nodes/status n",
            "create nodes -",
            "patch leases n",
            "create certificatesigningrequests -",
            "get secrets x",
            "watch secrets -?type=kubernetes.io/tls",
            "watch secrets -?type!=bootstrap.kubernetes.io/token",
        ] {
            check(&node, allowed, true);
        }
        for forbidden in [
            "patch pods x",
            "update secrets x",
            "patch nodes m",
            "delete nodes n",
            "patch leases m",
            "update certificatesigningrequests/approval x",
            "get secrets bootstrap-token-abcdef",
            "list secrets -",
        ] {
            check(&node, forbidden, false);
        }
        check(&Identity::admin(), "update secrets x", true);
    }

    #[test]
    fn who_joins_asks_for_a_certificate_only() {
        let joiner = Identity { user: "system:bootstrap:a".into(), groups: vec!["system:bootstrappers".into()] };
        check(&joiner, "create certificatesigningrequests -", true);
        check(&joiner, "get configmaps cluster-info", true);
        for forbidden in ["get configmaps other", "get nodes n", "update certificatesigningrequests/approval x"] {
            check(&joiner, forbidden, false);
        }
    }

    #[test]
    fn strangers_are_told_in_kubernetes_words() {
        let stranger = Identity { user: "eve".into(), groups: Vec::new() };
        let (resource, namespace) = (Secret::resource(), Some("a"));
        let wanted = Attributes { verb: "get", resource, subresource: "", namespace, name: "x", fields: "" };
        let error = authorize(&stranger, &wanted).unwrap_err().to_string();
        assert_eq!(
            error,
            "secrets \"x\" is forbidden: User \"eve\" cannot get resource \"secrets\" in API group \"\" in the namespace \"a\""
        );
    }
}
