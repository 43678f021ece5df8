//! EndpointSlices: at most a hundred endpoints each. A pod keeps its place, so that one pod's change writes one slice.
//!
//! Follows `k8s.io/endpointslice` (reconciler.go): gone endpoints leave their slices, changed ones are brought up to
//! date, new ones fill first the slices that change anyway, then one that has room for all of them, then new slices.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::ObjectReference;
use wherry_api::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use wherry_api::kinds::{EndpointSlice, Service};
use wherry_api::well_known::ZONE;

use super::{Chosen, Group, SERVICE_NAME};
use crate::plan::Plan;
use crate::pods::{PodRef, PodView};
use crate::world::{View, uid, within};

/// Kubernetes' own default.
const ENDPOINTS_A_SLICE_MAX: usize = 100;
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";

type Present<'a> = (&'a ObjectKey, &'a Arc<EndpointSlice>);

/// A slice that is there, with the pods that it is to show.
struct Draft<'a> {
    slice: Present<'a>,
    pods: Vec<&'a PodRef>,
    is_changed: bool,
}

/// Makes the slices show the chosen pods.
pub(super) fn publish(chosen: &Chosen<'_>, plan: &mut Plan) {
    let mut spare: Vec<Present<'_>> =
        own_slices(chosen.view, chosen.key).filter(|(_, slice)| slice.metadata.deletion_timestamp.is_none()).collect();
    let mut is_any = false;
    for group in &chosen.groups {
        let (alike, rest): (Vec<_>, Vec<_>) = spare.into_iter().partition(|(_, slice)| has_ports(slice, &group.ports));
        spare = rest;
        is_any |= publish_group(chosen, group, alike, &mut spare, plan);
    }
    if !is_any {
        // A Service without pods keeps one empty slice, as in Kubernetes.
        write(chosen, spare.pop(), &[], &[], plan);
    }
    for (key, slice) in spare {
        plan.delete::<EndpointSlice>(key, &slice.metadata, None);
    }
}

/// Places a group's pods; slices that are left empty become spare ones. True where any slice shows pods.
fn publish_group<'a>(
    chosen: &Chosen<'a>,
    group: &Group<'a>,
    alike: Vec<Present<'a>>,
    spare: &mut Vec<Present<'a>>,
    plan: &mut Plan,
) -> bool {
    let mut open: HashMap<&str, &PodRef> = group.pods.iter().map(|pod| (uid(&pod.meta), *pod)).collect();
    let mut drafts: Vec<Draft<'a>> = alike.into_iter().map(|slice| draft(chosen, slice, &mut open)).collect();
    let mut new: Vec<&PodRef> = group.pods.iter().copied().filter(|pod| open.contains_key(uid(&pod.meta))).collect();
    let room = |draft: &Draft<'_>| ENDPOINTS_A_SLICE_MAX.saturating_sub(draft.pods.len());
    for draft in drafts.iter_mut().filter(|draft| draft.is_changed) {
        let taken = new.len().min(room(draft));
        draft.pods.extend(new.drain(..taken));
    }
    while new.len() >= ENDPOINTS_A_SLICE_MAX {
        let pods: Vec<&PodRef> = new.drain(..ENDPOINTS_A_SLICE_MAX).collect();
        write(chosen, spare.pop(), &group.ports, &pods, plan);
    }
    let fits = |draft: &&mut Draft<'_>| !draft.is_changed && room(draft) >= new.len();
    if !new.is_empty() {
        match drafts.iter_mut().filter(fits).min_by_key(|draft| room(draft)) {
            Some(draft) => {
                draft.pods.append(&mut new);
                draft.is_changed = true;
            }
            None => write(chosen, spare.pop(), &group.ports, &new, plan),
        }
    }
    for draft in drafts.into_iter().filter(|draft| draft.is_changed) {
        if draft.pods.is_empty() {
            spare.push(draft.slice);
        } else {
            write(chosen, Some(draft.slice), &group.ports, &draft.pods, plan);
        }
    }
    !group.pods.is_empty()
}

/// What remains of a slice; its pods are no longer open.
fn draft<'a>(chosen: &Chosen<'a>, slice: Present<'a>, open: &mut HashMap<&str, &'a PodRef>) -> Draft<'a> {
    let mut is_changed = slice.1.metadata.labels.as_ref() != Some(&labels(chosen));
    let mut pods = Vec::new();
    for endpoint in slice.1.endpoints.iter().flatten() {
        let target = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
        match open.remove(target) {
            Some(pod) => {
                is_changed |= !shows(chosen, endpoint, pod);
                pods.push(pod);
            }
            None => is_changed = true,
        }
    }
    Draft { slice, pods, is_changed }
}

/// Writes what a slice is to show: into one that is there, or into a new one.
fn write(chosen: &Chosen<'_>, present: Option<Present<'_>>, ports: &[EndpointPort], pods: &[&PodRef], plan: &mut Plan) {
    let endpoints: Vec<Value> = pods.iter().map(|pod| json!(endpoint(chosen, pod))).collect();
    let Some((key, slice)) = present else {
        let metadata = json!({
            "namespace": chosen.key.namespace, "generateName": format!("{}-", chosen.key.name),
            "labels": labels(chosen), "ownerReferences": [owner(chosen.key, chosen.service)],
        });
        let slice = json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports});
        return plan.create::<EndpointSlice>(slice, None);
    };
    let is_empty = slice.endpoints.iter().flatten().next().is_none();
    if pods.is_empty() && is_empty && has_ports(slice, ports) && slice.metadata.labels.as_ref() == Some(&labels(chosen))
    {
        return;
    }
    let gone = slice.metadata.labels.iter().flatten().map(|(key, _)| (key.clone(), Value::Null));
    let mut all: serde_json::Map<String, Value> = gone.collect();
    all.extend(labels(chosen).into_iter().map(|(key, value)| (key, value.into())));
    let metadata = json!({"resourceVersion": slice.metadata.resource_version, "labels": all});
    plan.merge::<EndpointSlice>(key, json!({"metadata": metadata, "endpoints": endpoints, "ports": ports}));
}

fn labels(chosen: &Chosen<'_>) -> std::collections::BTreeMap<String, String> {
    chosen.labels(&[(SERVICE_NAME, &chosen.key.name), (MANAGED_BY, OURS)])
}

fn own_slices<'a>(view: &'a View, key: &'a ObjectKey) -> impl Iterator<Item = Present<'a>> {
    within(&view.slices, &key.namespace).filter(|(_, slice)| {
        let label = |name: &str| slice.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
        label(SERVICE_NAME) == Some(&key.name) && label(MANAGED_BY) == Some(OURS)
    })
}

fn has_ports(slice: &EndpointSlice, ports: &[EndpointPort]) -> bool {
    slice.address_type == "IPv4" && slice.ports.as_deref().unwrap_or_default() == ports
}

fn conditions(chosen: &Chosen<'_>, pod: &PodView) -> EndpointConditions {
    let (serving, terminating) = (pod.ready.is_some(), pod.is_deleting());
    EndpointConditions {
        ready: Some(chosen.early || (serving && !terminating)),
        serving: Some(serving),
        terminating: Some(terminating),
    }
}

fn zone<'a>(chosen: &Chosen<'a>, pod: &PodView) -> Option<&'a String> {
    let node = chosen.view.nodes.get(&ObjectKey::new("", pod.node.as_deref()?))?;
    node.metadata.labels.as_ref()?.get(ZONE)
}

/// Whether an endpoint of a slice shows the pod as it is.
fn shows(chosen: &Chosen<'_>, endpoint: &Endpoint, pod: &PodView) -> bool {
    endpoint.addresses.len() == 1
        && endpoint.addresses.first().map(String::as_str) == pod.ip.as_deref()
        && endpoint.conditions.as_ref() == Some(&conditions(chosen, pod))
        && endpoint.node_name.as_deref() == pod.node.as_deref()
        && endpoint.hostname.as_deref() == chosen.hostname(pod)
        && endpoint.zone.as_ref() == zone(chosen, pod)
}

fn endpoint(chosen: &Chosen<'_>, pod: &PodView) -> Endpoint {
    Endpoint {
        addresses: pod.ip.iter().map(|ip| ip.to_string()).collect(),
        conditions: Some(conditions(chosen, pod)),
        hostname: chosen.hostname(pod).map(str::to_owned),
        node_name: pod.node.as_deref().map(str::to_owned),
        target_ref: Some(target_ref(pod)),
        zone: zone(chosen, pod).cloned(),
        ..Endpoint::default()
    }
}

/// A pod as what stands behind an endpoint.
pub(super) fn target_ref(pod: &PodView) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.key.namespace.to_string()),
        name: Some(pod.key.name.to_string()),
        uid: pod.meta.uid.clone(),
        ..ObjectReference::default()
    }
}

fn owner(key: &ObjectKey, service: &Service) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "name": key.name, "uid": uid(&service.metadata),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// A Service that is gone leaves none behind.
pub(super) fn withdraw(view: &View, key: &ObjectKey, plan: &mut Plan) {
    for (slice_key, slice) in own_slices(view, key) {
        plan.delete::<EndpointSlice>(slice_key, &slice.metadata, None);
    }
}
