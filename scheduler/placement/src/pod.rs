//! What placement knows of a pod, and how its rules meet a node's labels.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wherry_api::ObjectKey;
use wherry_api::selector::Requirement;

use crate::Resources;
use crate::node::{Effect, Node};

/// A pod that wants a node: `Pod::from(&api_pod)`.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Which pod.
    pub key: ObjectKey,
    /// What it asks for; `pods` is 1.
    pub requests: Resources,
    /// The uid of its controller: pods of one owner are spread over the nodes.
    pub owner: Option<Arc<str>>,
    /// Pods of a higher priority are placed first.
    pub priority: i32,
    /// Which nodes it accepts.
    pub rules: Rules,
}

/// Which nodes a pod accepts, and which it likes. Pods with equal rules share the work of filtering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `spec.nodeName`: this very node.
    pub node_name: Option<Box<str>>,
    /// `spec.nodeSelector`: all these labels.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity: one of these terms, where there is any requirement.
    pub required: Option<Vec<Term>>,
    /// Preferred node affinity.
    pub preferred: Vec<Preference>,
    /// Taints that it bears.
    pub tolerations: Vec<Toleration>,
}

/// A term of node affinity: everything in it must hold; an empty one matches no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// Of the node's labels.
    pub labels: Vec<Requirement>,
    /// Of the node's fields: `metadata.name` is the only one there is.
    pub fields: Vec<Requirement>,
}

/// A preferred term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// 1 to 100.
    pub weight: i32,
    /// What is preferred.
    pub term: Term,
}

/// A toleration. Empty parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// The taint's key; empty with `value` none for every taint.
    pub key: String,
    /// The taint's value; none for operator `Exists`.
    pub value: Option<String>,
    /// The taint's effect; none for every effect.
    pub effect: Option<Effect>,
}

impl Pod {
    /// Whether another pod asks for the same and has the same owner: they differ in nothing that decides.
    pub(crate) fn asks_like(&self, other: &Self) -> bool {
        self.owner == other.owner && self.requests == other.requests && self.rules == other.rules
    }
}

impl Hash for Rules {
    /// Leaves out the terms, which cannot be hashed: rules that differ in nothing else are rare.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.node_name, &self.node_selector, &self.tolerations).hash(state);
        (self.required.as_ref().map(Vec::len), self.preferred.len()).hash(state);
    }
}

impl Rules {
    /// Whether the node is the one that is asked for by name, if one is.
    pub(crate) fn names(&self, node: &Node) -> bool {
        self.node_name.as_ref().is_none_or(|name| *name == node.name)
    }

    /// Whether selector and required affinity accept the node.
    pub(crate) fn accepts(&self, node: &Node) -> bool {
        self.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && self.required.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }

    /// The weights of the preferred terms that match the node.
    pub(crate) fn preference(&self, node: &Node) -> i64 {
        self.preferred.iter().filter(|p| p.term.matches(node)).map(|p| i64::from(p.weight)).sum()
    }
}

impl Term {
    fn matches(&self, node: &Node) -> bool {
        let label = |key: &str| node.labels.get(key).map(String::as_str);
        let field = |key: &str| (key == "metadata.name").then_some(&*node.name);
        let is_empty = self.labels.is_empty() && self.fields.is_empty();
        !is_empty
            && self.labels.iter().all(|r| r.operator.accepts(label(&r.key)))
            && self.fields.iter().all(|r| r.operator.accepts(field(&r.key)))
    }
}

impl Toleration {
    /// Whether it bears a taint, as `k8s.io/component-helpers` decides it.
    pub(crate) fn tolerates(&self, key: &str, value: &str, effect: Effect) -> bool {
        self.effect.is_none_or(|own| own == effect)
            && (self.key == key || self.key.is_empty() && self.value.is_none())
            && self.value.as_ref().is_none_or(|own| own == value)
    }
}
