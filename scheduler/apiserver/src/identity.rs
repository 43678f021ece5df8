//! Who asks: what authentication found out, and what authorization decides on.

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name: the certificate's common name.
    pub user: String,
    /// The user's groups: the certificate's organizations.
    pub groups: Vec<String>,
}

impl Identity {
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
        Self { user: format!("system:node:{name}"), groups: vec!["system:nodes".into()] }
    }
}
