//! Ingress status: where the ingress of this cluster is reached.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::kinds::{Ingress, IngressClass};

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::world::{View, World};

/// The class that is Wherry's by name, and the controller that other classes name.
const CLASS: &str = "wherry";
const CONTROLLER: &str = "wherry.dev/ingress";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(crate) struct IngressStatus {
    pub(crate) address: IpAddr,
}

impl Controller for IngressStatus {
    const NAME: &'static str = "ingress-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.ingresses);
        let known = Arc::clone(world);
        sources.follow_changes(&world.ingress_classes, move |_, _, _| {
            known.ingresses.snapshot().keys().cloned().collect()
        });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(ingress) = view.ingresses.get(key) else { return plan };
        match (is_served(view, ingress), self.is_shown(ingress)) {
            (true, false) => {
                let status = json!({"loadBalancer": {"ingress": [{"ip": self.address}]}});
                plan.status::<Ingress>(key, &ingress.metadata, status);
            }
            // It has moved to another class, whose controller has not come yet.
            (false, true) => plan.status::<Ingress>(key, &ingress.metadata, json!({"loadBalancer": null})),
            _ => {}
        }
        plan
    }
}

/// Whether the ingress of this cluster serves it: it is of a class of ours, or of none where ours is the default.
fn is_served(view: &View, ingress: &Ingress) -> bool {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let annotated = || ingress.metadata.annotations.as_ref()?.get(CLASS_ANNOTATION).map(String::as_str);
    match named.or_else(annotated) {
        Some(name) => name == CLASS || view.ingress_classes.get(&ObjectKey::new("", name)).is_some_and(|c| is_ours(c)),
        None => view.ingress_classes.values().any(|class| is_ours(class) && is_default(class)),
    }
}

fn is_ours(class: &IngressClass) -> bool {
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
    controller == Some(CONTROLLER) || class.metadata.name.as_deref() == Some(CLASS)
}

fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
}

impl IngressStatus {
    fn is_shown(&self, ingress: &Ingress) -> bool {
        let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let mut shown = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
        let address = self.address.to_string();
        shown.any(|one| one.ip.as_ref() == Some(&address))
    }
}
