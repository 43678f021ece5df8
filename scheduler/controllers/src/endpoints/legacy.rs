//! Endpoints: the old form, one object a Service, cut off where Kubernetes cuts it off.

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1 as core;
use wherry_api::kinds::Endpoints;

use super::slices::target_ref;
use super::{Chosen, Group, service_ports};
use crate::plan::Plan;
use crate::pods::{PodRef, PodView};
use crate::world::View;

/// How many addresses there are at the most; the annotation says where more were wanted.
const ADDRESSES_MAX: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OURS: &str = "endpoint-controller";

/// Makes the object show the chosen pods.
pub(super) fn publish(chosen: &Chosen<'_>, plan: &mut Plan) {
    let (subsets, is_cut) = subsets(chosen);
    let labels = chosen.labels(&[(MANAGED_BY, OURS)]);
    let Some(present) = chosen.view.endpoints.get(chosen.key) else {
        let annotations = if is_cut { json!({OVER_CAPACITY: "truncated"}) } else { json!({}) };
        let key = chosen.key;
        let metadata =
            json!({"namespace": key.namespace, "name": key.name, "labels": labels, "annotations": annotations});
        return plan.create::<Endpoints>(json!({"metadata": metadata, "subsets": subsets}), None);
    };
    let said = present.metadata.annotations.as_ref().and_then(|annotations| annotations.get(OVER_CAPACITY)).is_some();
    let is_same = present.subsets.as_deref().unwrap_or_default() == subsets
        && present.metadata.labels.as_ref() == Some(&labels)
        && said == is_cut;
    if !is_same {
        let mark = if is_cut { json!("truncated") } else { Value::Null };
        let gone = present.metadata.labels.iter().flatten().map(|(key, _)| (key.clone(), Value::Null));
        let mut all: serde_json::Map<String, Value> = gone.collect();
        all.extend(labels.into_iter().map(|(key, value)| (key, value.into())));
        let metadata = json!({
            "resourceVersion": present.metadata.resource_version, "labels": all, "annotations": {OVER_CAPACITY: mark},
        });
        plan.merge::<Endpoints>(chosen.key, json!({"metadata": metadata, "subsets": subsets}));
    }
}

/// The subsets, and whether pods are missing in them because they are too many: the ready ones come first.
fn subsets(chosen: &Chosen<'_>) -> (Vec<core::EndpointSubset>, bool) {
    let is_shown = |pod: &&&PodRef| chosen.early || !pod.is_deleting();
    let is_ready = |pod: &PodView| chosen.early || pod.ready.is_some();
    // A pod none of whose ports the Service knows cannot be reached by it.
    let is_reached = |group: &&Group<'_>| !group.ports.is_empty() || service_ports(chosen.service).is_empty();
    let groups: Vec<_> = chosen.groups.iter().filter(is_reached).collect();
    let shown = |group: &Group<'_>| group.pods.iter().filter(is_shown).count();
    let total: usize = groups.iter().map(|group| shown(group)).sum();
    let mut left = ADDRESSES_MAX;
    let mut all: Vec<core::EndpointSubset> = groups.iter().map(|group| subset(group)).collect();
    for wants_ready in [true, false] {
        for (group, subset) in groups.iter().zip(&mut all) {
            let pods = group.pods.iter().filter(is_shown).filter(|pod| is_ready(pod) == wants_ready).take(left);
            let addresses: Vec<_> = pods.map(|pod| address(chosen, pod)).collect();
            left -= addresses.len();
            let list = if wants_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
            *list = Some(addresses).filter(|addresses| !addresses.is_empty());
        }
    }
    all.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    (all, total > ADDRESSES_MAX)
}

fn subset(group: &Group<'_>) -> core::EndpointSubset {
    let ports = group.ports.iter().map(|port| core::EndpointPort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    });
    let ports: Vec<_> = ports.collect();
    core::EndpointSubset { ports: Some(ports).filter(|ports| !ports.is_empty()), ..core::EndpointSubset::default() }
}

fn address(chosen: &Chosen<'_>, pod: &PodView) -> core::EndpointAddress {
    core::EndpointAddress {
        ip: pod.ip.as_deref().unwrap_or_default().to_owned(),
        hostname: chosen.hostname(pod).map(str::to_owned),
        node_name: pod.node.as_deref().map(str::to_owned),
        target_ref: Some(target_ref(pod)),
    }
}

/// A Service that is gone leaves what was made for it behind no longer.
pub(super) fn withdraw(view: &View, key: &ObjectKey, plan: &mut Plan) {
    let is_ours = |endpoints: &Endpoints| {
        let labels = endpoints.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str) == Some(OURS)
    };
    if let Some(endpoints) = view.endpoints.get(key).filter(|endpoints| is_ours(endpoints)) {
        plan.delete::<Endpoints>(key, &endpoints.metadata, None);
    }
}
