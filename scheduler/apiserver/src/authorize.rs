//! Who may do what: administrators everything, nodes what a kubelet needs, who joins what it takes to become one,
//! everybody else nothing.
//!
//! A request is ruled on by itself; what then depends on the cluster's state is looked up (`node_graph`). Role-based access
//! is not served yet; the groups are those of Kubernetes, so that it can take this place.

mod node;

use wherry_api::kinds::{Kind, Pod};
use wherry_api::well_known::{ADMINISTRATORS, BOOTSTRAPPERS, CLUSTER_INFO};
use wherry_api::{Error, ObjectKey, Reason, Resource};

use crate::identity::Identity;
use crate::node_graph::Referent;
use crate::registry::Registry;

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

/// What the request alone says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ruling {
    Allowed,
    Forbidden,
    /// Allowed to a node that has a use for this object.
    IfReferred(Referent, ObjectKey),
    /// Allowed to the node that this pod is bound to.
    IfBound(ObjectKey),
}

impl Registry {
    /// Says nothing where it is allowed, and a 403 in Kubernetes' words where it is not.
    pub(crate) fn authorize(&self, identity: &Identity, wanted: &Attributes<'_>) -> Result<(), Error> {
        let node = identity.node_name().unwrap_or_default();
        let is_allowed = match rule(identity, wanted) {
            Ruling::Allowed => return Ok(()),
            Ruling::Forbidden => return Err(forbidden(identity, wanted, "")),
            Ruling::IfReferred(referent, key) => self.node_graph().refers(self.store(), node, referent, &key),
            Ruling::IfBound(pod) => self.is_bound(&pod, node),
        };
        let why = || format!(": no relationship found between node '{node}' and this object");
        if is_allowed { Ok(()) } else { Err(forbidden(identity, wanted, &why())) }
    }

    /// One that is not there is nobody's, but to find that out is no secret.
    fn is_bound(&self, pod: &ObjectKey, node: &str) -> bool {
        let pods = self.store().snapshot(Pod::resource());
        pods.objects.get(pod).is_none_or(|entry| entry.field(Pod::resource(), "spec.nodeName") == node)
    }
}

/// Says nothing to administrators, and a 403 to everybody else.
pub(crate) fn administer(identity: &Identity, what: &str) -> Result<(), Error> {
    if identity.is_in(ADMINISTRATORS) {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" may not read or write {what}", identity.user);
    Err(Error::new(Reason::Forbidden, message))
}

fn rule(identity: &Identity, wanted: &Attributes<'_>) -> Ruling {
    if identity.is_in(ADMINISTRATORS) {
        return Ruling::Allowed;
    }
    if identity.is_in(BOOTSTRAPPERS) && bootstrapper_may(wanted) {
        return Ruling::Allowed;
    }
    identity.node_name().map_or(Ruling::Forbidden, |node| node::rule(node, wanted))
}

fn forbidden(identity: &Identity, wanted: &Attributes<'_>, why: &str) -> Error {
    let Attributes { verb, resource, subresource, namespace, name, .. } = wanted;
    let slash = if subresource.is_empty() { "" } else { "/" };
    let scope = namespace.map_or_else(|| "at the cluster scope".to_owned(), |n| format!("in the namespace \"{n}\""));
    let object = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let message = format!(
        "{}{object} is forbidden: User \"{}\" cannot {verb} resource \"{}{slash}{subresource}\" in API group \"{}\" {scope}{why}",
        resource.qualified(),
        identity.user,
        resource.plural,
        resource.group
    );
    Error::new(Reason::Forbidden, message).about(resource.group, resource.plural, name)
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
mod tests;
