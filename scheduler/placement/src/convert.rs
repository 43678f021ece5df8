//! From the API's types to what placement knows. Quantities that cannot be read count as zero: validation has
//! refused them long before.

use std::collections::BTreeMap;

use wherry_api::k8s_openapi::api::core::v1 as core;
use wherry_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use wherry_api::selector::{Operator, Requirement};
use wherry_api::{Kind, quantity};

use crate::{Effect, Node, Pod, Preference, Resources, Rules, Taint, Term, Toleration};

type Quantities = BTreeMap<String, Quantity>;

/// Whether a pod counts against its node: it has not ended.
pub fn holds_resources(pod: &core::Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

impl From<&core::Node> for Node {
    fn from(node: &core::Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        Self {
            name: node.metadata.name.as_deref().unwrap_or_default().into(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: taints.iter().filter_map(taint).collect(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: allocatable.map(resources).unwrap_or_default(),
        }
    }
}

impl From<&core::Pod> for Pod {
    fn from(pod: &core::Pod) -> Self {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        let spec = pod.spec.as_ref();
        Self {
            key: pod.key(),
            requests: spec.map(requests).unwrap_or_default(),
            owner: controller.map(|owner| owner.uid.as_str().into()),
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            rules: spec.map(rules).unwrap_or_default(),
        }
    }
}

/// What a pod asks for: its containers and sidecars together, or the most that an init container asks for with the
/// sidecars before it, whichever is more; and its overhead.
fn requests(spec: &core::PodSpec) -> Resources {
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.as_deref().unwrap_or_default() {
        let asked = container_requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.plus(asked);
            peak = larger(peak, sidecars);
        } else {
            peak = larger(peak, sidecars.plus(asked));
        }
    }
    let together = spec.containers.iter().map(container_requests).fold(sidecars, Resources::plus);
    let overhead = spec.overhead.as_ref().map(resources).unwrap_or_default();
    Resources { pods: 1, ..larger(peak, together).plus(overhead) }
}

fn larger(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu_milli: a.cpu_milli.max(b.cpu_milli),
        memory_bytes: a.memory_bytes.max(b.memory_bytes),
        pods: a.pods.max(b.pods),
    }
}

/// Requests, and where there are none the limits.
fn container_requests(container: &core::Container) -> Resources {
    let Some(asked) = &container.resources else { return Resources::default() };
    let mut all = asked.limits.clone().unwrap_or_default();
    all.extend(asked.requests.clone().unwrap_or_default());
    resources(&all)
}

fn resources(quantities: &Quantities) -> Resources {
    let read = |name: &str, read: fn(&Quantity) -> Result<i64, quantity::NotAQuantity>| {
        quantities.get(name).and_then(|quantity| read(quantity).ok()).unwrap_or(0)
    };
    Resources {
        cpu_milli: read("cpu", quantity::milli),
        memory_bytes: read("memory", quantity::units),
        pods: read("pods", quantity::units),
    }
}

fn taint(taint: &core::Taint) -> Option<Taint> {
    let value = taint.value.clone().unwrap_or_default();
    Some(Taint { key: taint.key.clone(), value, effect: Effect::parse(&taint.effect)? })
}

fn rules(spec: &core::PodSpec) -> Rules {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let preferred = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let preference = |p: &core::PreferredSchedulingTerm| Preference { weight: p.weight, term: term(&p.preference) };
    Rules {
        node_name: spec.node_name.as_deref().filter(|name| !name.is_empty()).map(Into::into),
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        required: required.map(|selector| selector.node_selector_terms.iter().map(term).collect()),
        preferred: preferred.unwrap_or_default().iter().map(preference).collect(),
        tolerations: spec.tolerations.as_deref().unwrap_or_default().iter().map(toleration).collect(),
    }
}

fn term(term: &core::NodeSelectorTerm) -> Term {
    let all =
        |list: Option<&[core::NodeSelectorRequirement]>| list.unwrap_or_default().iter().map(requirement).collect();
    Term { labels: all(term.match_expressions.as_deref()), fields: all(term.match_fields.as_deref()) }
}

/// An operator that there is not accepts nothing.
fn requirement(requirement: &core::NodeSelectorRequirement) -> Requirement {
    let values = requirement.values.clone().unwrap_or_default();
    let number = values.first().and_then(|value| value.parse().ok());
    let operator = match (requirement.operator.as_str(), number) {
        ("In", _) => Operator::In(values),
        ("NotIn", _) => Operator::NotIn(values),
        ("Exists", _) => Operator::Exists,
        ("DoesNotExist", _) => Operator::DoesNotExist,
        ("Gt", Some(bound)) => Operator::GreaterThan(bound),
        ("Lt", Some(bound)) => Operator::LessThan(bound),
        _ => Operator::In(Vec::new()),
    };
    Requirement { key: requirement.key.clone(), operator }
}

fn toleration(toleration: &core::Toleration) -> Toleration {
    let is_exists = toleration.operator.as_deref() == Some("Exists");
    Toleration {
        key: toleration.key.clone().unwrap_or_default(),
        value: (!is_exists).then(|| toleration.value.clone().unwrap_or_default()),
        effect: toleration.effect.as_deref().filter(|effect| !effect.is_empty()).and_then(Effect::parse),
    }
}
