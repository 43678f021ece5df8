//! Namespaces: what each has from the start, and the end of one with all that it holds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wherry_api::kinds::{ConfigMap, Event, Kind, Namespace, ServiceAccount};
use wherry_api::{ObjectKey, Resource};
use wherry_client::DeleteOptions;

use crate::driver::{Controller, Sources};
use crate::plan::{Action, Plan};
use crate::world::{View, World};

const ROOT_CA: &str = "kube-root-ca.crt";
/// The finalizer that is this controller's.
const FINALIZER: &str = "kubernetes";
/// How often the end of a namespace is looked at while something is left in it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Namespaces {
    pub(crate) ca_certificate: String,
}

impl Controller for Namespaces {
    const NAME: &'static str = "namespace-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.namespaces);
        let of_cluster = |key: &ObjectKey| vec![ObjectKey::new("", &key.namespace)];
        sources.follow(&world.service_accounts, move |key, _| of_cluster(key));
        sources.follow(&world.config_maps, move |key, _| of_cluster(key));
        // The last object to go lets the namespace go.
        sources.follow(&world.pods, move |key, pod| if pod.is_deleting() { of_cluster(key) } else { Vec::new() });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(namespace) = view.namespaces.get(key) else { return plan };
        if namespace.metadata.deletion_timestamp.is_some() {
            end(view, key, namespace, &mut plan);
        } else {
            self.furnish(view, key, &mut plan);
        }
        plan
    }
}

impl Namespaces {
    fn furnish(&self, view: &View, key: &ObjectKey, plan: &mut Plan) {
        let within = |name: &str| ObjectKey::new(&key.name, name);
        let metadata = |name: &str| json!({"namespace": key.name, "name": name});
        if !view.service_accounts.contains_key(&within("default")) {
            plan.create::<ServiceAccount>(json!({"metadata": metadata("default")}), None);
        }
        if !view.config_maps.contains_key(&within(ROOT_CA)) {
            let object = json!({"metadata": metadata(ROOT_CA), "data": {"ca.crt": self.ca_certificate}});
            plan.create::<ConfigMap>(object, None);
        }
    }
}

/// Deletes what is left; an empty namespace loses its finalizer, and with it its being.
fn end(view: &View, key: &ObjectKey, namespace: &Namespace, plan: &mut Plan) {
    let mut is_empty = true;
    view.each(&mut |resource: &'static Resource, own: &ObjectKey, meta| {
        if !resource.namespaced || own.namespace != key.name {
            return;
        }
        is_empty = false;
        if meta.deletion_timestamp.is_none() {
            let options = DeleteOptions::default();
            plan.actions.push(Action::Delete { resource, key: own.clone(), options, told_of: None });
        }
    });
    if !is_empty {
        return plan.look_again(LOOK_AGAIN);
    }
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        // No informer follows events; nothing is created in a namespace that ends.
        plan.actions.push(Action::DeleteAll { resource: Event::resource(), namespace: key.name.clone() });
        let kept: Vec<_> = finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "spec": {"finalizers": kept},
            "metadata": {"name": namespace.metadata.name, "uid": namespace.metadata.uid},
        });
        let resource = Namespace::resource();
        plan.actions.push(Action::Replace { resource, key: key.clone(), subresource: "finalize", object });
    }
}
