//! The nodes, and what the pods on them use: kept up to date by whoever places, one event at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wherry_api::ObjectKey;

use crate::{Node, Resources};

/// Nodes and their load. Events may come in any order: pods may be told of before their node.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<Box<str>, Node>,
    pods: HashMap<ObjectKey, Assigned>,
    loads: HashMap<Box<str>, Load>,
}

/// A pod that has a node.
#[derive(Clone, Debug)]
struct Assigned {
    node: Box<str>,
    requests: Resources,
    owner: Option<Arc<str>>,
}

/// What a node's pods use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) used: Resources,
    /// How many pods each owner has here.
    pub(crate) owners: HashMap<Arc<str>, i64>,
}

impl Snapshot {
    /// Adds a node, or replaces what is known of it.
    pub fn set_node(&mut self, node: Node) {
        self.nodes.insert(node.name.clone(), node);
    }

    /// Forgets a node. Its pods are still counted, in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Counts a pod that has a node, or recounts it.
    pub fn set_pod(&mut self, key: &ObjectKey, node: &str, requests: Resources, owner: Option<Arc<str>>) {
        self.remove_pod(key);
        let load = self.loads.entry(node.into()).or_default();
        load.used = load.used.plus(requests);
        if let Some(owner) = &owner {
            *load.owners.entry(Arc::clone(owner)).or_default() += 1;
        }
        self.pods.insert(key.clone(), Assigned { node: node.into(), requests, owner });
    }

    /// No longer counts a pod: it is gone, or has ended. True where it was counted.
    pub fn remove_pod(&mut self, key: &ObjectKey) -> bool {
        let Some(pod) = self.pods.remove(key) else { return false };
        let Some(load) = self.loads.get_mut(&pod.node) else { return true };
        load.used = load.used.minus(pod.requests);
        if let Some(owner) = pod.owner {
            let count = load.owners.entry(Arc::clone(&owner)).or_default();
            *count -= 1;
            if *count <= 0 {
                load.owners.remove(&owner);
            }
        }
        if load.used.pods <= 0 {
            self.loads.remove(&pod.node);
        }
        true
    }

    /// What is known of a node.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The nodes by name, with their loads.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Node, Option<&Load>)> {
        self.nodes.values().map(|node| (node, self.loads.get(&node.name)))
    }
}
