//! Faults of Namespaces, Nodes, Leases, Events and RuntimeClasses.

use std::collections::HashSet;

use crate::kinds::{Event, Lease, Namespace, Node, RuntimeClass};
use crate::pod_security;
use crate::validate::names;
use crate::validate::path::{Faults, Path};

pub(crate) fn namespace(namespace: &Namespace, faults: &mut Faults) {
    let at = Path::Root("metadata").field("labels");
    for (key, value, why) in namespace.metadata.labels.iter().flat_map(pod_security::faults) {
        faults.invalid(&at.key(key), value, why);
    }
    let at = Path::Root("spec").field("finalizers");
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    for (index, finalizer) in finalizers.enumerate() {
        super::meta::finalizer_name(finalizer, &at.index(index), faults);
    }
}

const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

pub(crate) fn node(node: &Node, faults: &mut Faults) {
    let root = Path::Root("spec");
    let at = root.field("taints");
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut seen = HashSet::new();
    for (index, taint) in taints.enumerate() {
        let at = at.index(index);
        faults.all(&at.field("key"), taint.key.as_str(), names::qualified_name(&taint.key));
        let value = taint.value.as_deref().unwrap_or_default();
        faults.all(&at.field("value"), value, names::label_value(value));
        faults.one_of(&at.field("effect"), Some(&taint.effect), &EFFECTS);
        if !seen.insert((&taint.key, &taint.effect)) {
            faults.duplicate(&at, taint);
        }
    }
}

pub(crate) fn node_update(node: &Node, old: &Node, faults: &mut Faults) {
    let cidr = |n: &Node| n.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()).unwrap_or_default();
    let provider = |n: &Node| n.spec.as_ref().and_then(|spec| spec.provider_id.clone()).unwrap_or_default();
    if !provider(old).is_empty() && provider(node) != provider(old) {
        let why = "node updates may not change providerID except from \"\" to valid";
        faults.forbidden(&Path::Root("spec").field("providerID"), why);
    }
    if !cidr(old).is_empty() && cidr(node) != cidr(old) {
        faults.forbidden(
            &Path::Root("spec").field("podCIDR"),
            "node updates may not change podCIDR except from \"\" to valid",
        );
    }
}

pub(crate) fn lease(lease: &Lease, faults: &mut Faults) {
    let at = Path::Root("spec");
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    if let Some(seconds) = seconds.filter(|seconds| *seconds <= 0) {
        faults.invalid(&at.field("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    let spec = lease.spec.as_ref();
    if let Some(count) = spec.and_then(|spec| spec.lease_transitions).filter(|count| *count < 0) {
        faults.invalid(&at.field("leaseTransitions"), count, "must be greater than or equal to 0");
    }
    if spec.and_then(|spec| spec.holder_identity.as_deref()) == Some("") {
        faults.invalid(&at.field("holderIdentity"), "", "must not be empty");
    }
}

pub(crate) fn event(event: &Event, faults: &mut Faults) {
    let about = event.involved_object.namespace.as_deref().unwrap_or_default();
    let own = event.metadata.namespace.as_deref().unwrap_or_default();
    let of_cluster = about.is_empty() && own == "default";
    if about != own && !of_cluster {
        faults.invalid(&Path::Root("involvedObject").field("namespace"), about, "does not match event.namespace");
    }
}

pub(crate) fn runtime_class(class: &RuntimeClass, faults: &mut Faults) {
    let found = names::dns1123_label(&class.handler);
    faults.all(&Path::Root("handler"), class.handler.as_str(), found);
    let nodes = class.scheduling.as_ref().and_then(|scheduling| scheduling.node_selector.as_ref());
    super::meta::labels(nodes, &Path::Root("scheduling").field("nodeSelector"), faults);
    let overhead = class.overhead.iter().flat_map(|overhead| overhead.pod_fixed.iter().flatten());
    for (name, amount) in overhead {
        super::pod::amount(amount, &Path::Root("overhead").field("podFixed").key(name), faults);
    }
}

pub(crate) fn runtime_class_update(class: &RuntimeClass, old: &RuntimeClass, faults: &mut Faults) {
    faults.immutable(&Path::Root("handler"), &class.handler, &old.handler);
}
