//! Pods that ask for more of their machine than their namespace allows: Kubernetes' admission plugin `PodSecurity`.
//!
//! What a level allows is `wherry_api::pod_security`'s to say.

use serde::Deserialize;
use serde_json::Value;
use wherry_api::k8s_openapi::api::core::v1::PodSpec;
use wherry_api::kinds::{Kind, Namespace};
use wherry_api::pod_security::{Level, levels};
use wherry_api::{Error, Reason, Resource};

use super::object::meta;
use super::{Registry, Target};

/// What is to be warned of in a pod, or in the template of one; an error where a pod is refused.
pub(super) fn check(registry: &Registry, resource: &'static Resource, object: &Value) -> Result<Option<String>, Error> {
    let (refuses, at) = match resource.kind {
        "Pod" => (true, "/spec"),
        "Deployment" | "ReplicaSet" => (false, "/spec/template/spec"),
        _ => return Ok(None),
    };
    let (enforced, warned) = of_namespace(registry, meta(object, "namespace"));
    if (enforced, warned) == (Level::Privileged, Level::Privileged) {
        return Ok(None);
    }
    // It was admitted, so it is one.
    let Some(spec) = object.pointer(at).and_then(|spec| PodSpec::deserialize(spec).ok()) else { return Ok(None) };
    if let Some(why) = refuses.then(|| enforced.violation(&spec)).flatten() {
        let name = meta(object, "name");
        let message = format!("pods \"{name}\" is forbidden: {why}");
        return Err(Error::new(Reason::Forbidden, message).about("", "pods", name));
    }
    Ok(warned.violation(&spec).map(|why| format!("would {}", why.replacen("violates", "violate", 1))))
}

/// What is refused, and what is warned of.
fn of_namespace(registry: &Registry, namespace: &str) -> (Level, Level) {
    let entry = registry.entry(&Target::new(Namespace::resource(), None, namespace));
    levels(|label| Level::parse(entry.as_ref()?.index.labels.get(label)?))
}
