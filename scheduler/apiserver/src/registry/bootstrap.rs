//! What every cluster has from the start. Made where it is missing, at each start; what exists is left alone.

use serde_json::{Value, json};
use wherry_api::kinds::{ConfigMap, IngressClass, Kind, Namespace, RuntimeClass, Service};
use wherry_api::well_known::CLUSTER_INFO;
use wherry_api::{Error, Reason, Resource};

use super::modify::ours;
use super::{Registry, Target};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Those that every node of ours has, and the one that some have: their Nodes say so.
const RUNTIME_CLASSES: [(&str, Option<&str>); 3] =
    [("wasm", None), ("wasm-isolated", None), ("docker", Some("wherry.dev/runtime.docker"))];

impl Registry {
    /// Creates what every cluster has from the start: the four namespaces, the Service `kubernetes`, the classes.
    pub async fn bootstrap(&self) -> Result<(), Error> {
        for name in NAMESPACES {
            self.ensure(Namespace::resource(), None, json!({"metadata": {"name": name}})).await?;
        }
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
        let class = json!({"metadata": {"name": "wherry", "annotations": annotations}, "spec": {"controller": "wherry.dev/ingress"}});
        self.ensure(IngressClass::resource(), None, class).await?;
        for (name, label) in RUNTIME_CLASSES {
            let scheduling = label.map(|label| json!({"nodeSelector": {label: "true"}}));
            let class = json!({"metadata": {"name": name}, "handler": name, "scheduling": scheduling});
            self.ensure(RuntimeClass::resource(), None, class).await?;
        }
        self.ensure(ConfigMap::resource(), Some(CLUSTER_INFO.0), self.cluster_info()).await?;
        self.ensure(Service::resource(), Some("default"), self.kubernetes_service()).await?;
        self.publish_masters().await
    }

    /// Makes an object where it is missing.
    pub(super) async fn ensure(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        object: Value,
    ) -> Result<(), Error> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let target = Target::new(resource, namespace, name);
        let outcome = if self.entry(&target).is_some() {
            self.follow_flags(&target, object).await
        } else {
            self.create(resource, namespace, object, &ours()).await.map(drop)
        };
        match outcome {
            Err(error) if error.reason != Reason::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// The API's own endpoints, and what who joins is told, follow the flags that it is started with.
    async fn follow_flags(&self, target: &Target, object: Value) -> Result<(), Error> {
        if matches!(target.resource.kind, "Endpoints" | "EndpointSlice" | "ConfigMap") {
            self.update(target, "", object, &ours()).await?;
        }
        Ok(())
    }

    fn cluster_info(&self) -> Value {
        json!({"metadata": {"name": CLUSTER_INFO.1}, "data": self.inner.config.cluster_info})
    }

    fn kubernetes_service(&self) -> Value {
        let address = self.inner.config.service_cidr.hosts().next().map(|ip| ip.to_string());
        let port = self.inner.config.advertise.port();
        json!({
            "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"clusterIP": address, "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
        })
    }
}
