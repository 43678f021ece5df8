//! What a pod's service account adds to it: the part of Kubernetes' admission plugin `ServiceAccount` that is about images.

use serde_json::Value;
use wherry_api::kinds::{Kind, Pod, ServiceAccount};
use wherry_api::{Error, Resource};

use super::object::{decode, meta};
use super::{Registry, Target};

/// The account of pods that name none.
const DEFAULT: &str = "default";

/// Gives a new pod that names no `imagePullSecrets` those of its account.
pub(super) fn add(registry: &Registry, resource: &'static Resource, pod: &mut Value) -> Result<(), Error> {
    if !std::ptr::eq(resource, Pod::resource()) {
        return Ok(());
    }
    let name = pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let target = Target::new(ServiceAccount::resource(), Some(meta(pod, "namespace")), name.unwrap_or(DEFAULT));
    // One that is not there is refused with the other references.
    let Some(entry) = registry.entry(&target) else { return Ok(()) };
    give(&decode(&entry)?, pod);
    Ok(())
}

fn give(account: &Value, pod: &mut Value) {
    let Some(secrets) = account.get("imagePullSecrets").filter(|secrets| !is_empty(secrets)) else { return };
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut)
        && spec.get("imagePullSecrets").is_none_or(is_empty)
    {
        spec.insert("imagePullSecrets".to_owned(), secrets.clone());
    }
}

fn is_empty(list: &Value) -> bool {
    list.is_null() || list.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_the_secrets_of_its_account() {
        let check = |account: Value, spec: Value, expected: Value| {
            let mut pod = json!({ "spec": spec });
            give(&account, &mut pod);
            assert_eq!(pod["spec"]["imagePullSecrets"], expected, "{account} {spec}");
        };
        let (mine, its) = (json!([{"name": "mine"}]), json!([{"name": "its"}]));
        let account = || json!({ "imagePullSecrets": its });
        check(account(), json!({}), its.clone());
        check(account(), json!({"imagePullSecrets": []}), its.clone());
        check(account(), json!({"imagePullSecrets": null}), its.clone());
        check(account(), json!({ "imagePullSecrets": mine }), mine.clone());
        check(json!({}), json!({ "imagePullSecrets": mine }), mine.clone());
        check(json!({"imagePullSecrets": []}), json!({}), Value::Null);
    }
}
