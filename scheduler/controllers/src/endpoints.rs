//! EndpointSlices and Endpoints of Services with a selector: the addresses of the pods that it chooses.
//!
//! Services without a selector are left alone: whoever makes them brings the addresses.

mod legacy;
mod slices;

use std::collections::BTreeMap;
use std::sync::Arc;

use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::ServicePort;
use wherry_api::k8s_openapi::api::discovery::v1::EndpointPort;
use wherry_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_api::kinds::Service;

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::pods::{PodRef, PodView};
use crate::world::{View, World, within};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

pub(crate) struct ServiceEndpoints;

/// A Service and the pods that it chooses.
pub(crate) struct Chosen<'a> {
    view: &'a View,
    key: &'a ObjectKey,
    service: &'a Service,
    /// Whether pods count before they are ready.
    early: bool,
    groups: Vec<Group<'a>>,
}

/// Names and numbers of ports.
type Numbers = Vec<(Option<String>, Option<i32>)>;

/// Pods that serve at the same ports.
struct Group<'a> {
    ports: Vec<EndpointPort>,
    pods: Vec<&'a PodRef>,
}

impl Controller for ServiceEndpoints {
    const NAME: &'static str = "endpoint-slice-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
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
                    let chosen = Chosen::read(view, key, service);
                    slices::publish(&chosen, &mut plan);
                    legacy::publish(&chosen, &mut plan);
                }
            }
            _ => {
                slices::withdraw(view, key, &mut plan);
                legacy::withdraw(view, key, &mut plan);
            }
        }
        plan
    }
}

impl<'a> Chosen<'a> {
    /// Pods with an address that have not ended; each with its ports, which may have names of their own.
    fn read(view: &'a View, key: &'a ObjectKey, service: &'a Service) -> Self {
        let early = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
        let all = within(&view.pods, &key.namespace).map(|(_, pod)| pod);
        let mut pods: Vec<&PodRef> =
            all.filter(|pod| pod.ip.is_some() && !pod.has_ended() && chooses(service, pod)).collect();
        let mut groups = Vec::new();
        if !names_ports(service) && !pods.is_empty() {
            let ports = pods.first().map(|pod| ports(service, pod)).unwrap_or_default();
            groups.push(Group { ports, pods: std::mem::take(&mut pods) });
        }
        let mut by_ports: BTreeMap<Numbers, Group<'a>> = BTreeMap::new();
        for pod in pods {
            let ports = ports(service, pod);
            let numbers = ports.iter().map(|port| (port.name.clone(), port.port));
            by_ports.entry(numbers.collect()).or_insert_with(|| Group { ports, pods: Vec::new() }).pods.push(pod);
        }
        groups.extend(by_ports.into_values());
        Self { view, key, service, early, groups }
    }

    fn is_headless(&self) -> bool {
        self.service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
    }

    /// The Service's own labels, and what says whose endpoints these are.
    fn labels(&self, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut labels = self.service.metadata.labels.clone().unwrap_or_default();
        labels.retain(|key, _| key != HEADLESS);
        labels.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        if self.is_headless() {
            labels.insert(HEADLESS.to_owned(), String::new());
        }
        labels
    }

    /// The name that a pod has within the Service.
    fn hostname<'p>(&self, pod: &'p PodView) -> Option<&'p str> {
        let (hostname, subdomain) = pod.hostname.as_ref()?;
        (**subdomain == *self.key.name).then_some(&**hostname)
    }
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

fn chooses(service: &Service, pod: &PodView) -> bool {
    let has = |(key, value): (&String, &String)| pod.labels().get(key) == Some(value);
    selector(service).is_some_and(|selector| selector.iter().all(has))
}

fn service_ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

/// Whether pods may have different numbers for a port of the service.
fn names_ports(service: &Service) -> bool {
    service_ports(service).iter().any(|port| matches!(port.target_port, Some(IntOrString::String(_))))
}

/// The ports of a pod for a service; a port that the pod does not name is left out.
fn ports(service: &Service, pod: &PodView) -> Vec<EndpointPort> {
    let one = |port: &ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target(port, pod, protocol)?),
            protocol: Some(protocol.to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    service_ports(service).iter().filter_map(one).collect()
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
