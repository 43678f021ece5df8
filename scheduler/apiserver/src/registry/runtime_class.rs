//! What a pod's RuntimeClass adds to it: Kubernetes' admission of that name. Where the class says which nodes have its handler,
//! and that they are kept free of others, a pod needs to say no more than its class.

use serde_json::{Map, Value};
use wherry_api::kinds::{Kind, RuntimeClass};
use wherry_api::{Error, Reason, Resource};

use super::object::{decode, meta};
use super::{Registry, Target};

/// Adds the class's overhead, node selector and tolerations to a new pod; an error where the selectors contradict each other.
pub(super) fn add(registry: &Registry, resource: &'static Resource, pod: &mut Value) -> Result<(), Error> {
    let name = pod.pointer("/spec/runtimeClassName").and_then(Value::as_str).unwrap_or_default();
    if resource.kind != "Pod" || name.is_empty() {
        return Ok(());
    }
    // One that is not there is refused with the other references.
    let Some(entry) = registry.entry(&Target::new(RuntimeClass::resource(), None, name)) else { return Ok(()) };
    merge(&decode(&entry)?, pod)
}

fn merge(class: &Value, pod: &mut Value) -> Result<(), Error> {
    let name = meta(pod, "name").to_owned();
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    if let Some(overhead) = class.pointer("/overhead/podFixed") {
        spec.insert("overhead".into(), overhead.clone());
    }
    if let Some(selector) = class.pointer("/scheduling/nodeSelector").and_then(Value::as_object) {
        select(selector, spec).map_err(|why| {
            Error::new(Reason::Forbidden, format!("pods \"{name}\" is forbidden: {why}")).about("", "pods", &name)
        })?;
    }
    if let Some(tolerations) = class.pointer("/scheduling/tolerations").and_then(Value::as_array) {
        tolerate(tolerations, spec);
    }
    Ok(())
}

fn select(selector: &Map<String, Value>, spec: &mut Map<String, Value>) -> Result<(), String> {
    let own = filled(spec, "nodeSelector", Value::Object(Map::new())).as_object_mut();
    let own = own.ok_or("spec.nodeSelector is no map")?;
    for (key, wanted) in selector {
        match own.get(key) {
            Some(other) if other != wanted => {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {other}"
                ));
            }
            _ => own.insert(key.clone(), wanted.clone()),
        };
    }
    Ok(())
}

fn tolerate(tolerations: &[Value], spec: &mut Map<String, Value>) {
    if let Some(own) = filled(spec, "tolerations", Value::Array(Vec::new())).as_array_mut() {
        let further: Vec<Value> = tolerations.iter().filter(|one| !own.contains(one)).cloned().collect();
        own.extend(further);
    }
}

/// A field of the spec, made where it is missing.
fn filled<'a>(spec: &'a mut Map<String, Value>, field: &str, empty: Value) -> &'a mut Value {
    let value = spec.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = empty;
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_says_where_its_pods_go() {
        let toleration = json!({"key": "a", "operator": "Exists"});
        let class = json!({
            "overhead": {"podFixed": {"memory": "1Mi"}},
            "scheduling": {"nodeSelector": {"wasm": "true"}, "tolerations": [toleration]},
        });
        let check = |spec: Value, expected: Result<Value, &str>| {
            let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
            let merged = merge(&class, &mut pod).map(|()| pod["spec"].clone());
            assert_eq!(merged.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        };
        let (overhead, selector) = (json!({"memory": "1Mi"}), json!({"wasm": "true"}));
        let whole = json!({"overhead": overhead, "nodeSelector": selector, "tolerations": [toleration]});
        check(json!({}), Ok(whole.clone()));
        check(json!({"nodeSelector": null, "tolerations": [toleration]}), Ok(whole));
        let other = json!({"key": "b", "operator": "Exists"});
        check(
            json!({"nodeSelector": {"disk": "fast"}, "tolerations": [other]}),
            Ok(json!({
                "overhead": overhead, "nodeSelector": {"disk": "fast", "wasm": "true"}, "tolerations": [other, toleration],
            })),
        );
        let refused = "pods \"p\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[wasm] = \"true\"; \
                       pod.spec.nodeSelector[wasm] = \"false\"";
        check(json!({"nodeSelector": {"wasm": "false"}}), Err(refused));
    }
}
