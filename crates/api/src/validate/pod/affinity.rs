//! Faults of affinity: terms of nodes and of pods.

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm};

use crate::selector::Labels;
use crate::validate::names;
use crate::validate::path::{Faults, Path};

/// Faults of a pod's affinity.
pub(super) fn affinity(affinity: &Affinity, at: &Path<'_>, faults: &mut Faults) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = &affinity.node_affinity {
        let at = at.field("nodeAffinity");
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            let at = at.field(REQUIRED);
            let at = at.field("nodeSelectorTerms");
            if required.node_selector_terms.is_empty() {
                faults.required(&at, "must have at least one node selector term");
            }
            for (index, term) in required.node_selector_terms.iter().enumerate() {
                node_term(term, &at.index(index), faults);
            }
        }
        let preferred = node.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        let at = at.field(PREFERRED);
        for (index, term) in preferred.enumerate() {
            let at = at.index(index);
            weight(term.weight, &at, faults);
            node_term(&term.preference, &at.field("preference"), faults);
        }
    }
    let pod = affinity.pod_affinity.as_ref().map(|pod| {
        let (required, preferred) = (
            &pod.required_during_scheduling_ignored_during_execution,
            &pod.preferred_during_scheduling_ignored_during_execution,
        );
        ("podAffinity", required, preferred)
    });
    let anti = affinity.pod_anti_affinity.as_ref().map(|pod| {
        let (required, preferred) = (
            &pod.required_during_scheduling_ignored_during_execution,
            &pod.preferred_during_scheduling_ignored_during_execution,
        );
        ("podAntiAffinity", required, preferred)
    });
    for (field, required, preferred) in pod.into_iter().chain(anti) {
        let at = at.field(field);
        let list = at.field(REQUIRED);
        for (index, term) in required.iter().flatten().enumerate() {
            pod_term(term, &list.index(index), faults);
        }
        let list = at.field(PREFERRED);
        for (index, term) in preferred.iter().flatten().enumerate() {
            let at = list.index(index);
            weight(term.weight, &at, faults);
            pod_term(&term.pod_affinity_term, &at.field("podAffinityTerm"), faults);
        }
    }
}

fn weight(weight: i32, at: &Path<'_>, faults: &mut Faults) {
    if !(1..=100).contains(&weight) {
        faults.invalid(&at.field("weight"), weight, "must be in the range 1-100");
    }
}

fn node_term(term: &NodeSelectorTerm, at: &Path<'_>, faults: &mut Faults) {
    let list = at.field("matchExpressions");
    for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
        node_requirement(expression, &list.index(index), faults);
    }
    let list = at.field("matchFields");
    for (index, expression) in term.match_fields.iter().flatten().enumerate() {
        let at = list.index(index);
        if expression.key != "metadata.name" {
            faults.invalid(&at.field("key"), &expression.key, "not a valid field selector key");
        }
    }
}

fn node_requirement(one: &NodeSelectorRequirement, at: &Path<'_>, faults: &mut Faults) {
    let values = one.values.as_deref().unwrap_or_default();
    let list = at.field("values");
    match (one.operator.as_str(), values.len()) {
        ("In" | "NotIn", 0) => faults.required(&list, "must be specified when `operator` is 'In' or 'NotIn'"),
        ("Exists" | "DoesNotExist", 1..) => {
            faults.forbidden(&list, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        ("Gt" | "Lt", 0 | 2..) => {
            faults.required(&list, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (other, _) => faults.invalid(&at.field("operator"), other, "not a valid selector operator"),
    }
    faults.all(&at.field("key"), &one.key, names::qualified_name(&one.key));
}

fn pod_term(term: &PodAffinityTerm, at: &Path<'_>, faults: &mut Faults) {
    if term.topology_key.is_empty() {
        faults.required(&at.field("topologyKey"), "can not be empty");
    }
    if let Some(Err(why)) = term.label_selector.as_ref().map(Labels::from_selector) {
        faults.invalid(&at.field("labelSelector"), &term.label_selector, &why);
    }
}
