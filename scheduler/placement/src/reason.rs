//! Why a node does not take a pod, in Kubernetes' words, and the sum over all nodes.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Node, Resources, Rules};

/// Why one node does not take a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason<'a> {
    Cordoned,
    OtherName,
    Tainted { key: &'a str, value: &'a str },
    OtherLabels,
    TooManyPods,
    LittleCpu,
    LittleMemory,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordoned => f.write_str("node(s) were unschedulable"),
            Self::OtherName => f.write_str("node(s) didn't match the requested node name"),
            Self::Tainted { key, value } => write!(f, "node(s) had untolerated taint {{{key}: {value}}}"),
            Self::OtherLabels => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::LittleCpu => f.write_str("Insufficient cpu"),
            Self::LittleMemory => f.write_str("Insufficient memory"),
        }
    }
}

/// The first rule that keeps the pod off the node whatever its load, in the order in which Kubernetes asks.
pub(crate) fn unfit<'a>(rules: &Rules, node: &'a Node) -> Option<Reason<'a>> {
    if !node.admits(&rules.tolerations) {
        return Some(Reason::Cordoned);
    }
    if !rules.names(node) {
        return Some(Reason::OtherName);
    }
    if let Some(taint) = node.repels(&rules.tolerations) {
        return Some(Reason::Tainted { key: &taint.key, value: &taint.value });
    }
    (!rules.accepts(node)).then_some(Reason::OtherLabels)
}

/// Whether what is free suffices. What is not asked for may be overdrawn.
pub(crate) fn fits(requests: Resources, free: Resources) -> bool {
    shortages(requests, free).next().is_none()
}

/// What is not there in the amount asked for.
pub(crate) fn shortages<'a>(requests: Resources, free: Resources) -> impl Iterator<Item = Reason<'a>> {
    let lacks = |asked: i64, free: i64| asked > 0 && asked > free;
    let pods = lacks(requests.pods, free.pods).then_some(Reason::TooManyPods);
    let cpu = lacks(requests.cpu_milli, free.cpu_milli).then_some(Reason::LittleCpu);
    let memory = lacks(requests.memory_bytes, free.memory_bytes).then_some(Reason::LittleMemory);
    pods.into_iter().chain(cpu).chain(memory)
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
pub(crate) fn summary<'a>(nodes: usize, reasons: impl Iterator<Item = Reason<'a>>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut counts: BTreeMap<Reason<'a>, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort_unstable();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}
