//! Who asks: what authentication found out, and what authorization decides on.

use serde_json::{Value, json};
use wherry_api::Resource;
use wherry_api::kinds::{CertificateSigningRequest, Kind};
use wherry_api::well_known::{NODE_USER, NODES};

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
        self.user.strip_prefix(NODE_USER).filter(|_| self.is_in(NODES))
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
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
