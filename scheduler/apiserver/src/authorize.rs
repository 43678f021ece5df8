//! Who may do what: administrators everything, nodes what a kubelet needs, everybody else nothing.
//!
//! Role-based access is not served yet; the groups are those of Kubernetes, so that it can take this place.

use wherry_api::{Error, Reason, Resource};

use crate::identity::Identity;

const ADMINISTRATORS: &str = "system:masters";
const NODES: &str = "system:nodes";

/// What somebody wants to do.
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) resource: &'a Resource,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

/// Says nothing where it is allowed, and a 403 in Kubernetes' words where it is not.
pub(crate) fn authorize(identity: &Identity, wanted: &Attributes<'_>) -> Result<(), Error> {
    let member = |group: &str| identity.groups.iter().any(|own| own == group);
    if member(ADMINISTRATORS) || (member(NODES) && node_may(wanted)) {
        return Ok(());
    }
    let Attributes { verb, resource, subresource, namespace, name } = wanted;
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

/// Nodes read what pods need, and write about themselves.
fn node_may(wanted: &Attributes<'_>) -> bool {
    match wanted.verb {
        "get" | "list" | "watch" => true,
        "delete" => wanted.resource.kind == "Pod",
        _ => {
            matches!(wanted.resource.kind, "Node" | "Lease" | "Event")
                || (wanted.resource.kind == "Pod" && wanted.subresource == "status")
        }
    }
}

#[cfg(test)]
mod tests {
    use wherry_api::Kind;
    use wherry_api::kinds::{Pod, Secret};

    use super::*;

    #[test]
    fn nodes_write_about_themselves_only() {
        let node = Identity::node("n");
        let stranger = Identity { user: "eve".into(), groups: Vec::new() };
        let ask = |identity: &Identity, verb, resource, subresource| {
            authorize(identity, &Attributes { verb, resource, subresource, namespace: Some("a"), name: "x" })
        };
        assert!(ask(&node, "patch", Pod::resource(), "status").is_ok());
        assert!(ask(&node, "patch", Pod::resource(), "").is_err());
        assert!(ask(&node, "update", Secret::resource(), "").is_err());
        assert!(ask(&Identity::admin(), "update", Secret::resource(), "").is_ok());
        let error = ask(&stranger, "get", Secret::resource(), "").unwrap_err().to_string();
        assert_eq!(
            error,
            "secrets \"x\" is forbidden: User \"eve\" cannot get resource \"secrets\" in API group \"\" in the namespace \"a\""
        );
    }
}
