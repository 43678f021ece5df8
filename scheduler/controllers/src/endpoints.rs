//! EndpointSlices and Endpoints of Services with a selector: the addresses of the pods that it chooses.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::ServicePort;
use wherry_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_api::kinds::{EndpointSlice, Endpoints, Service};
use wherry_api::selector::Labels;

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::pods::{PodRef, PodView};
use crate::world::{View, World, uid, within};

/// Kubernetes' own default.
const ENDPOINTS_A_SLICE_MAX: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";

pub(crate) struct ServiceEndpoints;

impl Controller for ServiceEndpoints {
    const NAME: &'static str = "endpointslice";

    fn follow(&self, world: &Arc<World>, sources: &Sources) {
        sources.follow_own(&world.services);
        sources.follow_own(&world.endpoints);
        sources.follow(&world.slices, |key, slice| {
            let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
            service.map(|name| ObjectKey::new(&key.namespace, name)).into_iter().collect()
        });
        let known = Arc::clone(world);
        sources.follow(&world.pods, move |key, pod| {
            let services = known.services.snapshot();
            let chosen = within(&services, &key.namespace).filter(|(_, service)| chooses(service, pod));
            chosen.map(|(key, _)| key.clone()).collect()
        });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        match view.services.get(key) {
            Some(service) if service.metadata.deletion_timestamp.is_none() => {
                if selector(service).is_some() {
                    publish(view, key, service, &mut plan);
                }
            }
            _ => withdraw(view, key, &mut plan),
        }
        plan
    }
}

fn selector(service: &Service) -> Option<Labels> {
    let selector = service.spec.as_ref()?.selector.as_ref().filter(|selector| !selector.is_empty())?;
    Some(Labels::from_map(selector))
}

fn chooses(service: &Service, pod: &PodView) -> bool {
    selector(service).is_some_and(|selector| selector.matches(pod.labels()))
}

/// Pods with an address that have not ended; each with its ports, which may have names of their own.
fn publish(view: &View, key: &ObjectKey, service: &Service, plan: &mut Plan) {
    let pods: Vec<&PodRef> = within(&view.pods, &key.namespace)
        .map(|(_, pod)| pod)
        .filter(|pod| pod.ip.is_some() && !pod.has_ended() && chooses(service, pod))
        .collect();
    let early = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let mut groups: BTreeMap<String, (Value, Vec<&PodRef>)> = BTreeMap::new();
    for pod in pods {
        let ports = ports(service, pod);
        groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new())).1.push(pod);
    }
    let groups: Vec<_> = groups.into_values().collect();
    publish_slices(view, key, service, &groups, early, plan);
    publish_endpoints(view, key, service, &groups, early, plan);
}

/// The ports of a pod for a service; a port that the pod does not name is left out.
fn ports(service: &Service, pod: &PodView) -> Value {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let one = |port: &ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let number = target(port, pod, protocol)?;
        Some(json!({"name": port.name.as_deref().unwrap_or_default(), "port": number, "protocol": protocol}))
    };
    ports.iter().filter_map(one).collect()
}

fn target(port: &ServicePort, pod: &PodView, protocol: &str) -> Option<i32> {
    match &port.target_port {
        Some(IntOrString::Int(number)) if *number != 0 => Some(*number),
        Some(IntOrString::String(name)) => {
            let found = pod.ports.iter().find(|(own, _, own_protocol)| **own == **name && **own_protocol == *protocol);
            found.map(|(_, number, _)| *number)
        }
        _ => Some(port.port),
    }
}

type Groups<'a> = [(Value, Vec<&'a PodRef>)];

fn publish_slices(view: &View, key: &ObjectKey, service: &Service, groups: &Groups<'_>, early: bool, plan: &mut Plan) {
    let mut wanted: Vec<(Value, Value)> = Vec::new();
    for (ports, pods) in groups {
        for pods in pods.chunks(ENDPOINTS_A_SLICE_MAX) {
            let endpoints: Vec<Value> = pods.iter().map(|pod| endpoint(pod, early)).collect();
            wanted.push((ports.clone(), endpoints.into()));
        }
    }
    let present: Vec<_> = own_slices(view, key).collect();
    for (index, (ports, endpoints)) in wanted.iter().enumerate() {
        match present.get(index) {
            Some((slice_key, slice)) if !shows(slice, ports, endpoints) => {
                let patch = json!({"metadata": {"resourceVersion": slice.metadata.resource_version}, "endpoints": endpoints, "ports": ports});
                plan.merge::<EndpointSlice>(slice_key, patch);
            }
            Some(_) => {}
            None => plan.create::<EndpointSlice>(new_slice(key, service, ports, endpoints), None),
        }
    }
    for (slice_key, slice) in present.iter().skip(wanted.len().max(1)) {
        plan.delete::<EndpointSlice>(slice_key, &slice.metadata, None);
    }
    if wanted.is_empty() {
        empty_slice(key, service, present.first(), plan);
    }
}

/// A Service without pods keeps one empty slice, as in Kubernetes.
fn empty_slice(
    key: &ObjectKey,
    service: &Service,
    present: Option<&(&ObjectKey, &Arc<EndpointSlice>)>,
    plan: &mut Plan,
) {
    match present {
        None => plan.create::<EndpointSlice>(new_slice(key, service, &json!([]), &json!([])), None),
        Some((slice_key, slice)) if slice.endpoints.as_ref().is_some_and(|endpoints| !endpoints.is_empty()) => {
            let patch = json!({"metadata": {"resourceVersion": slice.metadata.resource_version}, "endpoints": []});
            plan.merge::<EndpointSlice>(slice_key, patch);
        }
        Some(_) => {}
    }
}

fn own_slices<'a>(view: &'a View, key: &'a ObjectKey) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<EndpointSlice>)> {
    within(&view.slices, &key.namespace).filter(|(_, slice)| {
        let label = |name: &str| slice.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
        label(SERVICE_NAME) == Some(&key.name) && label(MANAGED_BY) == Some(OURS)
    })
}

fn endpoint(pod: &PodView, early: bool) -> Value {
    let (ready, terminating) = (pod.ready.is_some(), pod.is_deleting());
    let target = json!({"kind": "Pod", "namespace": pod.key.namespace, "name": pod.key.name, "uid": uid(&pod.meta)});
    let mut endpoint = json!({
        "addresses": [pod.ip], "targetRef": target,
        "conditions": {"ready": early || (ready && !terminating), "serving": early || ready, "terminating": terminating},
    });
    if let Some(map) = endpoint.as_object_mut() {
        if let Some(node) = &pod.node {
            map.insert("nodeName".into(), (**node).into());
        }
        if let Some((hostname, _)) = pod.hostname.as_ref().filter(|(hostname, _)| !hostname.is_empty()) {
            map.insert("hostname".into(), (**hostname).into());
        }
    }
    endpoint
}

/// Whether a slice shows these endpoints and ports already.
fn shows(slice: &EndpointSlice, ports: &Value, endpoints: &Value) -> bool {
    let present = serde_json::to_value(slice).unwrap_or_default();
    let list = |field: &str| present.get(field).cloned().filter(|v| !v.is_null()).unwrap_or_else(|| json!([]));
    list("ports") == *ports && list("endpoints") == *endpoints
}

fn new_slice(key: &ObjectKey, service: &Service, ports: &Value, endpoints: &Value) -> Value {
    json!({
        "metadata": {
            "namespace": key.namespace, "generateName": format!("{}-", key.name),
            "labels": {SERVICE_NAME: key.name, MANAGED_BY: OURS}, "ownerReferences": [owner(key, service)],
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    })
}

fn owner(key: &ObjectKey, service: &Service) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "name": key.name, "uid": uid(&service.metadata),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn publish_endpoints(
    view: &View,
    key: &ObjectKey,
    service: &Service,
    groups: &Groups<'_>,
    early: bool,
    plan: &mut Plan,
) {
    let address = |pod: &&PodRef| {
        let target =
            json!({"kind": "Pod", "namespace": pod.key.namespace, "name": pod.key.name, "uid": uid(&pod.meta)});
        json!({"ip": pod.ip, "nodeName": pod.node, "targetRef": target})
    };
    let is_ready = |pod: &&&PodRef| early || (pod.ready.is_some() && !pod.is_deleting());
    let subset = |(ports, pods): &(Value, Vec<&PodRef>)| {
        let pods: Vec<_> = pods.iter().filter(|pod| !pod.is_deleting()).collect();
        let ready: Vec<Value> = pods.iter().filter(|pod| is_ready(pod)).map(|pod| address(pod)).collect();
        let rest: Vec<Value> = pods.iter().filter(|pod| !is_ready(pod)).map(|pod| address(pod)).collect();
        let mut subset = json!({"ports": ports});
        if let Some(map) = subset.as_object_mut() {
            [("addresses", ready), ("notReadyAddresses", rest)]
                .into_iter()
                .filter(|(_, list)| !list.is_empty())
                .for_each(|(field, list)| drop(map.insert(field.into(), list.into())));
        }
        subset
    };
    let subsets: Value = groups.iter().map(subset).collect();
    match view.endpoints.get(key) {
        None => {
            let metadata =
                json!({"namespace": key.namespace, "name": key.name, "ownerReferences": [owner(key, service)]});
            plan.create::<Endpoints>(json!({"metadata": metadata, "subsets": subsets}), None);
        }
        Some(present) => {
            let shown = serde_json::to_value(&present.subsets).unwrap_or_default();
            let shown = if shown.is_null() { json!([]) } else { shown };
            if shown != subsets {
                plan.merge::<Endpoints>(key, json!({"subsets": subsets}));
            }
        }
    }
}

/// A Service that is gone leaves nothing behind.
fn withdraw(view: &View, key: &ObjectKey, plan: &mut Plan) {
    for (slice_key, slice) in own_slices(view, key) {
        plan.delete::<EndpointSlice>(slice_key, &slice.metadata, None);
    }
    let is_ours =
        |endpoints: &Arc<Endpoints>| endpoints.metadata.owner_references.as_ref().is_some_and(|o| !o.is_empty());
    if let Some(endpoints) = view.endpoints.get(key).filter(|endpoints| is_ours(endpoints)) {
        plan.delete::<Endpoints>(key, &endpoints.metadata, None);
    }
}
