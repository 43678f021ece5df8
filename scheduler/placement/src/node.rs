//! What placement knows of a node.

use std::collections::BTreeMap;

use crate::{Resources, Toleration};

/// The taint that a cordoned node counts as having.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A node: `Node::from(&api_node)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Box<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// What it has for pods.
    pub allocatable: Resources,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does to pods that do not tolerate it.
    pub effect: Effect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Keeps pods away.
    NoSchedule,
    /// Keeps pods away where there is another node.
    PreferNoSchedule,
    /// Keeps pods away, and ends those that run.
    NoExecute,
}

impl Effect {
    /// The effect of that name.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

impl Node {
    /// Whether pods with these tolerations may come although the node may be cordoned.
    pub(crate) fn admits(&self, tolerations: &[Toleration]) -> bool {
        !self.unschedulable || tolerations.iter().any(|t| t.tolerates(UNSCHEDULABLE, "", Effect::NoSchedule))
    }

    /// The first taint that keeps pods with these tolerations away.
    pub(crate) fn repels(&self, tolerations: &[Toleration]) -> Option<&Taint> {
        let binds = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule;
        self.taints.iter().filter(binds).find(|taint| !taint.is_tolerated(tolerations))
    }

    /// How many taints advise against pods with these tolerations.
    pub(crate) fn advises_against(&self, tolerations: &[Toleration]) -> usize {
        let advises = |taint: &&Taint| taint.effect == Effect::PreferNoSchedule && !taint.is_tolerated(tolerations);
        self.taints.iter().filter(advises).count()
    }
}

impl Taint {
    fn is_tolerated(&self, tolerations: &[Toleration]) -> bool {
        tolerations.iter().any(|t| t.tolerates(&self.key, &self.value, self.effect))
    }
}
