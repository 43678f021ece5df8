//! The nodes, and what the pods on them use: kept up to date by whoever places, one event at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wherry_api::ObjectKey;

use crate::{Node, Resources};

/// Nodes and their load. Events may come in any order: pods may be told of before their node.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    spots: BTreeMap<Arc<str>, Spot>,
    pods: HashMap<ObjectKey, Assigned>,
    /// How many pods each owner has, node by node.
    owners: HashMap<Arc<str>, BTreeMap<Arc<str>, i32>>,
}

/// A node's name, what is known of the node, and what its pods use.
#[derive(Clone, Debug, Default)]
struct Spot {
    node: Option<Node>,
    used: Resources,
}

/// A pod that has a node.
#[derive(Clone, Debug)]
struct Assigned {
    node: Arc<str>,
    requests: Resources,
    owner: Option<Arc<str>>,
}

impl Snapshot {
    /// Adds a node, or replaces what is known of it.
    pub fn set_node(&mut self, node: Node) {
        match self.spots.get_mut(&*node.name) {
            Some(spot) => spot.node = Some(node),
            None => {
                let name = Arc::from(&*node.name);
                self.spots.insert(name, Spot { node: Some(node), used: Resources::default() });
            }
        }
    }

    /// Forgets a node. Its pods are still counted, in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(spot) = self.spots.get_mut(name) {
            spot.node = None;
            self.drop_unused(name);
        }
    }

    /// Counts a pod that has a node, or recounts it.
    pub fn set_pod(&mut self, key: &ObjectKey, node: &str, requests: Resources, owner: Option<Arc<str>>) {
        self.remove_pod(key);
        let known = self.spots.get_key_value(node).map(|(name, _)| Arc::clone(name));
        let node = known.unwrap_or_else(|| node.into());
        let spot = self.spots.entry(Arc::clone(&node)).or_default();
        spot.used = spot.used.plus(requests);
        if let Some(owner) = &owner {
            *self.owners.entry(Arc::clone(owner)).or_default().entry(Arc::clone(&node)).or_default() += 1;
        }
        self.pods.insert(key.clone(), Assigned { node, requests, owner });
    }

    /// No longer counts a pod: it is gone, or has ended. True where it was counted.
    pub fn remove_pod(&mut self, key: &ObjectKey) -> bool {
        let Some(pod) = self.pods.remove(key) else { return false };
        if let Some(spot) = self.spots.get_mut(&pod.node) {
            spot.used = spot.used.minus(pod.requests);
        }
        self.drop_unused(&pod.node);
        if let Some(owner) = pod.owner {
            self.disown(&owner, &pod.node);
        }
        true
    }

    /// What is known of a node.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.spots.get(name)?.node.as_ref()
    }

    /// The nodes by name, with what their pods use.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Node, Resources)> {
        self.spots.iter().filter_map(|(name, spot)| Some((name, spot.node.as_ref()?, spot.used)))
    }

    /// The nodes that an owner has pods on, by name, and how many.
    pub(crate) fn nodes_of(&self, owner: &str) -> impl Iterator<Item = (&str, i32)> {
        self.owners.get(owner).into_iter().flatten().map(|(node, count)| (&**node, *count))
    }

    fn drop_unused(&mut self, name: &str) {
        if self.spots.get(name).is_some_and(|spot| spot.node.is_none() && spot.used.pods <= 0) {
            self.spots.remove(name);
        }
    }

    fn disown(&mut self, owner: &str, node: &str) {
        let Some(nodes) = self.owners.get_mut(owner) else { return };
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count <= 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.owners.remove(owner);
        }
    }
}
