//! What clients look for in the documents.

use serde_json::{Value, json};

use super::{v2, v3, v3_index};

fn at<'a>(document: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(document, |value, key| &value[*key])
}

fn refers_only_to_what_is_there(document: &Value, schemas: &Value, prefix: &str) {
    match document {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let name = reference.strip_prefix(prefix).unwrap();
                assert!(schemas.get(name).is_some(), "{name}");
                assert!(object.len() == 1 || prefix == "#/definitions/", "{name} has siblings");
            }
            object.values().for_each(|value| refers_only_to_what_is_there(value, schemas, prefix));
        }
        Value::Array(items) => items.iter().for_each(|value| refers_only_to_what_is_there(value, schemas, prefix)),
        _ => {}
    }
}

#[test]
fn every_group_has_a_document_that_stands_alone() {
    let index = v3_index();
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 6, "{paths:?}");
    for (path, entry) in paths {
        assert!(entry["serverRelativeURL"].as_str().unwrap().starts_with(&format!("/openapi/v3/{path}?hash=")));
        let document = v3(path).unwrap();
        refers_only_to_what_is_there(&document, &document["components"]["schemas"], "#/components/schemas/");
    }
    assert_eq!(v3("apis/nothing/v1"), None);
    let document = v2();
    refers_only_to_what_is_there(&document, &document["definitions"], "#/definitions/");
}

#[test]
fn schemas_carry_the_merge_facts() {
    let core = v3("api/v1").unwrap();
    let schemas = &core["components"]["schemas"];
    let containers = at(schemas, &["io.k8s.api.core.v1.PodSpec", "properties", "containers"]);
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let ports = at(schemas, &["io.k8s.api.core.v1.Container", "properties", "ports"]);
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
    assert_eq!(
        pod["properties"]["spec"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
    );
}

#[test]
fn patches_take_field_validation() {
    let apps = v3("apis/apps/v1").unwrap();
    let patch = at(&apps, &["paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch"]);
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
    let scale = at(&apps, &["paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "get"]);
    assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
    let v2 = v2();
    let patch = at(&v2, &["paths", "/api/v1/nodes/{name}", "patch"]);
    assert!(
        patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation" && p["type"] == "string")
    );
}
