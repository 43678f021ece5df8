//! Who asks: what authentication found out, and what authorization decides on.

use serde_json::{Value, json};
use wherry_api::kinds::{CertificateSigningRequest, Kind};
use wherry_api::well_known::{NODE_USER, NODES};
use wherry_api::{Error, Reason, Resource};

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name: the certificate's common name.
    pub user: String,
    /// The user's groups: the certificate's organizations.
    pub groups: Vec<String>,
}

impl Identity {
    /// The node that this is, as far as its name goes.
    pub(crate) fn node_name(&self) -> Option<&str> {
        self.user.strip_prefix(NODE_USER).filter(|_| self.groups.iter().any(|group| group == NODES))
    }

    /// A node creates no other Node, and no other's Lease: what its authorization cannot see, since names of new objects
    /// are in their bodies (Kubernetes' `NodeRestriction`).
    pub(crate) fn check_new(&self, resource: &'static Resource, object: &Value) -> Result<(), Error> {
        let Some(node) = self.node_name().filter(|_| matches!(resource.kind, "Node" | "Lease")) else { return Ok(()) };
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if name == node {
            return Ok(());
        }
        let message =
            format!("{} \"{name}\" is forbidden: node \"{node}\" is not allowed to create it", resource.qualified());
        Err(Error::new(Reason::Forbidden, message).about(resource.group, resource.plural, name))
    }

    /// Puts who asks into a new object of a kind that has it: a certificate signing request.
    pub(crate) fn stamp(&self, resource: &'static Resource, object: &mut Value) {
        if !std::ptr::eq(resource, CertificateSigningRequest::resource()) {
            return;
        }
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("username".into(), self.user.as_str().into());
            spec.insert("groups".into(), json!(self.groups));
            ["uid", "extra"].into_iter().for_each(|field| drop(spec.remove(field)));
        }
    }

    /// May do everything: the group `system:masters`.
    pub fn admin() -> Self {
        Self { user: "kubernetes-admin".into(), groups: vec!["system:masters".into()] }
    }

    /// A part of the master.
    pub fn component(name: &str) -> Self {
        Self { user: format!("system:{name}"), groups: vec!["system:masters".into()] }
    }

    /// A node.
    pub fn node(name: &str) -> Self {
        Self { user: format!("{NODE_USER}{name}"), groups: vec![NODES.into()] }
    }
}

#[cfg(test)]
mod tests {
    use wherry_api::kinds::{ConfigMap, Node};

    use super::*;

    #[test]
    fn a_node_creates_its_own_node_only() {
        let check = |identity: &Identity, resource, name: &str| {
            identity.check_new(resource, &json!({"metadata": {"name": name}})).is_ok()
        };
        let node = Identity::node("a");
        assert!(check(&node, Node::resource(), "a") && !check(&node, Node::resource(), "b"));
        assert!(check(&node, ConfigMap::resource(), "b") && check(&Identity::admin(), Node::resource(), "b"));
    }
}
