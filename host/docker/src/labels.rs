//! What the engine's containers say of themselves in their labels, so that they are found again by the next process of
//! the node, and by nobody else's.

use std::collections::HashMap;
use std::net::IpAddr;

use wherry_runtime::{ContainerSpec, PodRef};

/// The data directory of the node that made a container: two nodes of one name may share an engine.
pub const OWNER: &str = "wherry.dev/data-dir";
const NODE: &str = "wherry.dev/node";
const NAMESPACE: &str = "wherry.dev/pod-namespace";
const POD: &str = "wherry.dev/pod-name";
const UID: &str = "wherry.dev/pod-uid";
const ADDRESS: &str = "wherry.dev/pod-address";
const ID: &str = "wherry.dev/container-id";
const NAME: &str = "wherry.dev/container-name";
const RUN: &str = "wherry.dev/container-run";
const REFERENCE: &str = "wherry.dev/image";
const DIGEST: &str = "wherry.dev/image-digest";

/// Labels, by name.
pub type Labels = HashMap<String, String>;

/// Whose containers these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node's name.
    pub node: String,
    /// Its data directory.
    pub directory: String,
}

/// What a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds the namespaces of a pod.
    Sandbox,
    /// It is one of the pod's.
    Container(Box<Member>),
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The container's own id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// How often it had been started before.
    pub run: u32,
    /// The image, as the pod named it.
    pub reference: String,
    /// The image's digest.
    pub digest: String,
}

/// A container of this node, as its labels tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its pod.
    pub pod: PodRef,
    /// The pod's address.
    pub address: IpAddr,
    /// What it is of it.
    pub role: Role,
}

impl Identity {
    /// A pod's sandbox container.
    pub fn sandbox(spec: &ContainerSpec) -> Self {
        Self { pod: spec.pod.clone(), address: spec.network.address(), role: Role::Sandbox }
    }

    /// A container.
    pub fn member(spec: &ContainerSpec) -> Self {
        let member = Member {
            id: spec.id.clone(),
            name: spec.name.clone(),
            run: spec.run,
            reference: spec.image.reference.clone(),
            digest: spec.image.digest.clone(),
        };
        Self { role: Role::Container(Box::new(member)), ..Self::sandbox(spec) }
    }

    /// As labels.
    pub fn labels(&self, owner: &Owner) -> Labels {
        let mut pairs = vec![
            (NODE, owner.node.clone()),
            (OWNER, owner.directory.clone()),
            (NAMESPACE, self.pod.namespace.clone()),
            (POD, self.pod.name.clone()),
            (UID, self.pod.uid.clone()),
            (ADDRESS, self.address.to_string()),
        ];
        if let Role::Container(member) = &self.role {
            let Member { id, name, run, reference, digest } = (**member).clone();
            pairs.extend([(ID, id), (NAME, name), (RUN, run.to_string()), (REFERENCE, reference), (DIGEST, digest)]);
        }
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// From labels; `None` where they are none of ours.
    pub fn read(labels: &Labels) -> Option<Self> {
        let text = |key: &str| labels.get(key).cloned();
        let pod = PodRef { namespace: text(NAMESPACE)?, name: text(POD)?, uid: text(UID)? };
        let address = labels.get(ADDRESS)?.parse().ok()?;
        let role = match text(ID) {
            None => Role::Sandbox,
            Some(id) => Role::Container(Box::new(Member {
                id,
                name: text(NAME)?,
                run: labels.get(RUN)?.parse().ok()?,
                reference: text(REFERENCE)?,
                digest: text(DIGEST)?,
            })),
        };
        Some(Self { pod, address, role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let owner = Owner { node: "n".into(), directory: "/d".into() };
        let pod = PodRef { namespace: "ns".into(), name: "p".into(), uid: "u".into() };
        let member = Member { id: "i".into(), name: "c".into(), run: 3, reference: "r:1".into(), digest: "d".into() };
        for role in [Role::Sandbox, Role::Container(Box::new(member))] {
            let identity = Identity { pod: pod.clone(), address: [10, 0, 0, 2].into(), role };
            let labels = identity.labels(&owner);
            assert_eq!(labels.get(OWNER).map(String::as_str), Some("/d"));
            assert_eq!(Identity::read(&labels), Some(identity));
        }
        assert_eq!(Identity::read(&Labels::new()), None);
    }
}
