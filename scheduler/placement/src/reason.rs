//! Why a node does not take a pod, in Kubernetes' words, and the sum over all nodes.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Node, Pod, Resources, Rules, Taint};

/// Why one node does not take a pod, whatever its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit<'a> {
    Cordoned,
    OtherName,
    Tainted(&'a Taint),
    OtherLabels,
}

impl fmt::Display for Unfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordoned => f.write_str("node(s) were unschedulable"),
            Self::OtherName => f.write_str("node(s) didn't match the requested node name"),
            Self::Tainted(taint) => write!(f, "node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value),
            Self::OtherLabels => f.write_str("node(s) didn't match Pod's node affinity/selector"),
        }
    }
}

/// The first rule that keeps the pod off the node, in the order in which Kubernetes asks.
pub(crate) fn unfit<'a>(rules: &Rules, node: &'a Node) -> Option<Unfit<'a>> {
    if !node.admits(&rules.tolerations) {
        return Some(Unfit::Cordoned);
    }
    if !rules.names(node) {
        return Some(Unfit::OtherName);
    }
    if let Some(taint) = node.repels(&rules.tolerations) {
        return Some(Unfit::Tainted(taint));
    }
    (!rules.accepts(node)).then_some(Unfit::OtherLabels)
}

/// Whether what is free suffices. What is not asked for may be overdrawn.
pub(crate) fn fits(requests: Resources, free: Resources) -> bool {
    shortages(requests, free).iter().all(|(is_short, _)| !is_short)
}

fn shortages(requests: Resources, free: Resources) -> [(bool, &'static str); 3] {
    let lacks = |asked: i64, free: i64| asked > 0 && asked > free;
    [
        (lacks(requests.pods, free.pods), "Too many pods"),
        (lacks(requests.cpu_milli, free.cpu_milli), "Insufficient cpu"),
        (lacks(requests.memory_bytes, free.memory_bytes), "Insufficient memory"),
    ]
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
pub(crate) fn summary<'a>(pod: &Pod, nodes: impl Iterator<Item = (&'a Node, Resources)>) -> String {
    let mut total = 0;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (node, free) in nodes {
        total += 1;
        for reason in reasons(pod, node, free) {
            *counts.entry(reason).or_default() += 1;
        }
    }
    if total == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut parts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort_unstable();
    format!("0/{total} nodes are available: {}.", parts.join(", "))
}

fn reasons(pod: &Pod, node: &Node, free: Resources) -> Vec<String> {
    match unfit(&pod.rules, node) {
        Some(unfit) => vec![unfit.to_string()],
        None => {
            let short = shortages(pod.requests, free).into_iter().filter(|(is_short, _)| *is_short);
            short.map(|(_, words)| words.to_owned()).collect()
        }
    }
}
