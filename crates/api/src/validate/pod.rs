//! Faults of pods and of pod templates' specs. Follows `k8s.io/kubernetes/pkg/apis/core/validation`.

use k8s_openapi::api::core::v1::{Container, PodSpec, Toleration, TopologySpreadConstraint};

use crate::kinds::Pod;
use crate::quantity;
use crate::selector::Labels;
use crate::validate::names;
use crate::validate::path::{Faults, Path};

mod affinity;
mod container;
mod env;
mod probe;
mod resources;
pub(crate) mod update;
mod volume;

pub(crate) use resources::amount;

/// Faults of a pod.
pub(crate) fn pod(pod: &Pod, faults: &mut Faults) {
    let at = Path::Root("spec");
    match &pod.spec {
        Some(spec) => pod_spec(spec, &at, faults),
        None => faults.required(&at, ""),
    }
}

/// Faults that only a new pod can have.
pub(crate) fn pod_new(pod: &Pod, faults: &mut Faults) {
    let ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    if ephemeral.count() > 0 {
        let at = Path::Root("spec");
        faults.forbidden(&at.field("ephemeralContainers"), "cannot be set on create");
    }
}

/// Faults of the spec of a pod or a template.
pub(crate) fn pod_spec(spec: &PodSpec, at: &Path<'_>, faults: &mut Faults) {
    let volumes = volume::volumes(spec.volumes.as_deref().unwrap_or_default(), &at.field("volumes"), faults);
    container::containers(spec, &volumes, at, faults);
    container::host_ports(spec, at, faults);
    policies(spec, at, faults);
    references(spec, at, faults);
    seconds(spec, at, faults);
    unsupported(spec, at, faults);
    let tolerations = at.field("tolerations");
    for (index, one) in spec.tolerations.iter().flatten().enumerate() {
        toleration(one, &tolerations.index(index), faults);
    }
    crate::validate::meta::labels(spec.node_selector.as_ref(), &at.field("nodeSelector"), faults);
    let constraints = at.field("topologySpreadConstraints");
    for (index, one) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        spread(one, &constraints.index(index), faults);
    }
    let secrets = at.field("imagePullSecrets");
    for (index, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if secret.name.is_empty() {
            faults.required(&secrets.index(index).field("name"), "");
        }
    }
    if let Some(affinity) = &spec.affinity {
        affinity::affinity(affinity, &at.field("affinity"), faults);
    }
}

fn policies(spec: &PodSpec, at: &Path<'_>, faults: &mut Faults) {
    const RESTART: [&str; 3] = ["Always", "OnFailure", "Never"];
    const DNS: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    faults.one_of(&at.field("restartPolicy"), spec.restart_policy.as_deref(), &RESTART);
    faults.one_of(&at.field("dnsPolicy"), spec.dns_policy.as_deref(), &DNS);
    let servers = spec.dns_config.as_ref().and_then(|config| config.nameservers.as_ref());
    if spec.dns_policy.as_deref() == Some("None") && servers.is_none_or(Vec::is_empty) {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        faults.required(&at.field("dnsConfig").field("nameservers"), why);
    }
}

fn references(spec: &PodSpec, at: &Path<'_>, faults: &mut Faults) {
    let mut check = |field: &str, value: &Option<String>, grammar: fn(&str) -> names::Faults| {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            faults.all(&at.field(field), value, grammar(value));
        }
    };
    check("nodeName", &spec.node_name, names::dns1123_subdomain);
    check("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain);
    check("runtimeClassName", &spec.runtime_class_name, names::dns1123_subdomain);
    check("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain);
    check("hostname", &spec.hostname, names::dns1123_label);
    check("subdomain", &spec.subdomain, names::dns1123_label);
    let aliases = at.field("hostAliases");
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let at = aliases.index(index);
        faults.all(&at.field("ip"), &alias.ip, names::ip(&alias.ip));
        for name in alias.hostnames.iter().flatten() {
            faults.all(&at.field("hostnames"), name, names::dns1123_subdomain(name));
        }
    }
}

fn seconds(spec: &PodSpec, at: &Path<'_>, faults: &mut Faults) {
    faults.not_negative(&at.field("terminationGracePeriodSeconds"), spec.termination_grace_period_seconds);
    let range = 1..=i64::from(i32::MAX);
    if let Some(deadline) = spec.active_deadline_seconds.filter(|deadline| !range.contains(deadline)) {
        let why = "must be between 1 and 2147483647, inclusive";
        faults.invalid(&at.field("activeDeadlineSeconds"), deadline, why);
    }
}

fn spread(one: &TopologySpreadConstraint, at: &Path<'_>, faults: &mut Faults) {
    if one.max_skew <= 0 {
        faults.invalid(&at.field("maxSkew"), one.max_skew, "must be greater than zero");
    }
    match one.topology_key.as_str() {
        "" => faults.required(&at.field("topologyKey"), "can not be empty"),
        key => faults.all(&at.field("topologyKey"), key, names::qualified_name(key)),
    }
    match one.when_unsatisfiable.as_str() {
        "ScheduleAnyway" => {}
        "DoNotSchedule" => {
            let why = "placement spreads pods over nodes as well as it can, and promises no more; use ScheduleAnyway";
            faults.forbidden(&at.field("whenUnsatisfiable"), why);
        }
        other => faults.unsupported(&at.field("whenUnsatisfiable"), other, &["DoNotSchedule", "ScheduleAnyway"]),
    }
    if let Some(Err(why)) = one.label_selector.as_ref().map(Labels::from_selector) {
        faults.invalid(&at.field("labelSelector"), &one.label_selector, &why);
    }
}

/// What Wherry does not have is refused, not passed over.
fn unsupported(spec: &PodSpec, at: &Path<'_>, faults: &mut Faults) {
    let mut refuse = |field: &str, there: bool, why: &str| {
        if there {
            faults.forbidden(&at.field(field), why);
        }
    };
    refuse("hostPID", spec.host_pid == Some(true), "pods do not share the node's processes here; leave it out");
    refuse("hostIPC", spec.host_ipc == Some(true), "pods do not share the node's memory here; leave it out");
    let claims = spec.resource_claims.iter().flatten().count() > 0;
    let gates = spec.scheduling_gates.iter().flatten().count() > 0;
    refuse("schedulingGates", gates, "pods are placed as soon as they fit here; create the pod when it may run");
    refuse("resourceClaims", claims, "dynamic resource allocation is not available here; use resources.limits");
}

fn toleration(toleration: &Toleration, at: &Path<'_>, faults: &mut Faults) {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let key = toleration.key.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().filter(|effect| !effect.is_empty());
    if !key.is_empty() {
        faults.all(&at.field("key"), key, names::qualified_name(key));
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        faults.invalid(&at.field("operator"), operator, why);
    }
    if toleration.toleration_seconds.is_some() && effect != Some("NoExecute") {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        faults.invalid(&at.field("effect"), effect.unwrap_or_default(), why);
    }
    match operator {
        "" | "Equal" => faults.all(&at.field("value"), value, names::label_value(value)),
        "Exists" if value.is_empty() => {}
        "Exists" => faults.invalid(&at.field("value"), value, "value must be empty when `operator` is 'Exists'"),
        other => faults.unsupported(&at.field("operator"), other, &["Equal", "Exists"]),
    }
    faults.one_of(&at.field("effect"), effect, &EFFECTS);
}

/// The quality of service class: Guaranteed, Burstable or BestEffort.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let (mut any, mut all) = (false, true);
    for container in containers {
        any |= asks(container);
        all &= guaranteed(container);
    }
    match (any, all) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn asks(container: &Container) -> bool {
    let resources = container.resources.iter();
    let mut maps = resources.flat_map(|resources| resources.limits.iter().chain(&resources.requests));
    maps.any(|map| COMPUTE.iter().any(|name| map.get(*name).is_some_and(|q| quantity::milli(q).is_ok_and(|m| m > 0))))
}

fn guaranteed(container: &Container) -> bool {
    let Some(resources) = &container.resources else { return false };
    let (Some(limits), Some(requests)) = (&resources.limits, &resources.requests) else { return false };
    COMPUTE.iter().all(|name| match (limits.get(*name), requests.get(*name)) {
        (Some(limit), Some(request)) => quantity::milli(limit) == quantity::milli(request),
        _ => false,
    })
}
