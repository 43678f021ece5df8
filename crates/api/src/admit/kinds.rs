//! Which defaults and which validation each kind has.

use serde_json::{Value, json};

use super::Admit;
use crate::default;
use crate::kinds::{
    CertificateSigningRequest, ConfigMap, Deployment, EndpointSlice, Endpoints, Event, Ingress, IngressClass, Lease,
    Namespace, Node, Pod, PodDisruptionBudget, ReplicaSet, RuntimeClass, Secret, Service, ServiceAccount,
};
use crate::validate::names::{self, Faults as Sentences};
use crate::validate::path::Faults;
use crate::validate::{certificates, cluster, config, disruption, endpoints, ingress, pod, service, workload};

impl Admit for Namespace {
    const NAME: fn(&str) -> Sentences = names::dns1123_label;

    fn default(&mut self) {
        if let Some(name) = &self.metadata.name {
            let labels = self.metadata.labels.get_or_insert_default();
            labels.insert("kubernetes.io/metadata.name".into(), name.clone());
        }
    }

    fn prepare_new(&mut self) {
        let finalizers = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
            finalizers.push("kubernetes".into());
        }
    }

    fn carry_over(&mut self, old: &Self) {
        // A client that says nothing of finalizers keeps them; the finalize subresource says an empty list.
        if self.spec.as_ref().is_none_or(|spec| spec.finalizers.is_none()) {
            self.spec.clone_from(&old.spec);
        }
    }

    fn first_status(&self) -> Option<Value> {
        Some(json!({"phase": "Active"}))
    }

    fn validate(&self, faults: &mut Faults) {
        cluster::namespace(self, faults);
    }
}

impl Admit for Node {
    const STATUS_ON_CREATE: bool = true;

    fn validate(&self, faults: &mut Faults) {
        cluster::node(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        cluster::node_update(self, old, faults);
    }
}

impl Admit for Pod {
    const GENERATION: bool = true;

    fn default(&mut self) {
        default::pod::pod(self);
    }

    fn first_status(&self) -> Option<Value> {
        Some(json!({"phase": "Pending", "qosClass": pod::qos_class(self)}))
    }

    fn validate_new(&self, faults: &mut Faults) {
        pod::pod_new(self, faults);
    }

    fn validate(&self, faults: &mut Faults) {
        pod::pod(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        pod::update::pod_update(self, old, faults);
    }
}

impl Admit for Service {
    const NAME: fn(&str) -> Sentences = names::dns1035_label;

    fn carry_over(&mut self, old: &Self) {
        default::service::carry_over(self, old);
    }

    fn default(&mut self) {
        default::service::service(self);
    }

    fn first_status(&self) -> Option<Value> {
        Some(json!({"loadBalancer": {}}))
    }

    fn validate(&self, faults: &mut Faults) {
        service::service(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        service::service_update(self, old, faults);
    }
}

impl Admit for Endpoints {
    fn default(&mut self) {
        default::service::endpoints(self);
    }

    fn validate(&self, faults: &mut Faults) {
        endpoints::endpoints(self, faults);
    }
}

impl Admit for EndpointSlice {
    const GENERATION: bool = true;

    fn default(&mut self) {
        default::service::endpoint_slice(self);
    }

    fn validate(&self, faults: &mut Faults) {
        endpoints::slice(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        endpoints::slice_update(self, old, faults);
    }
}

impl Admit for ConfigMap {
    fn validate(&self, faults: &mut Faults) {
        config::config_map(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        config::config_map_update(self, old, faults);
    }
}

impl Admit for Secret {
    const CONSUMED: &'static [&'static str] = &["stringData"];

    fn default(&mut self) {
        default::text(&mut self.type_, "Opaque");
        for (key, value) in self.string_data.take().into_iter().flatten() {
            let data = self.data.get_or_insert_default();
            data.insert(key, k8s_openapi::ByteString(value.into_bytes()));
        }
    }

    fn validate(&self, faults: &mut Faults) {
        config::secret(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        config::secret_update(self, old, faults);
    }
}

impl Admit for ServiceAccount {}

impl Admit for Event {
    fn validate(&self, faults: &mut Faults) {
        cluster::event(self, faults);
    }
}

impl Admit for Lease {
    fn validate(&self, faults: &mut Faults) {
        cluster::lease(self, faults);
    }
}

impl Admit for Deployment {
    const GENERATION: bool = true;

    fn default(&mut self) {
        default::workload::deployment(self);
    }

    fn validate(&self, faults: &mut Faults) {
        workload::deployment(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        workload::deployment_update(self, old, faults);
    }
}

impl Admit for ReplicaSet {
    const GENERATION: bool = true;

    fn default(&mut self) {
        default::workload::replica_set(self);
    }

    fn first_status(&self) -> Option<Value> {
        Some(json!({"replicas": 0}))
    }

    fn validate(&self, faults: &mut Faults) {
        workload::replica_set(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        workload::replica_set_update(self, old, faults);
    }
}

impl Admit for Ingress {
    const GENERATION: bool = true;

    fn first_status(&self) -> Option<Value> {
        Some(json!({"loadBalancer": {}}))
    }

    fn validate_new(&self, faults: &mut Faults) {
        ingress::ingress_new(self, faults);
    }

    fn validate(&self, faults: &mut Faults) {
        ingress::ingress(self, faults);
    }
}

impl Admit for IngressClass {
    const GENERATION: bool = true;

    fn validate(&self, faults: &mut Faults) {
        ingress::class(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        ingress::class_update(self, old, faults);
    }
}

impl Admit for RuntimeClass {
    fn validate(&self, faults: &mut Faults) {
        cluster::runtime_class(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        cluster::runtime_class_update(self, old, faults);
    }
}

impl Admit for CertificateSigningRequest {
    fn validate(&self, faults: &mut Faults) {
        certificates::request(self, faults);
    }

    fn validate_update(&self, old: &Self, faults: &mut Faults) {
        certificates::request_update(self, old, faults);
    }
}

impl Admit for PodDisruptionBudget {
    const GENERATION: bool = true;

    fn validate(&self, faults: &mut Faults) {
        disruption::budget(self, faults);
    }
}
