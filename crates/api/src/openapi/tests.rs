//! What clients look for in the documents.

use serde_json::{Value, json};

use super::{v2, v2_binary, v3, v3_index};
use crate::protobuf::wire::{Payload, fields};

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
    assert_eq!(paths.len(), 8, "{paths:?}");
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

/// What stands at a path of field numbers in a message, and the first of several.
fn inside<'a>(message: &'a [u8], path: &[u64]) -> Vec<&'a [u8]> {
    let Some((number, rest)) = path.split_first() else { return vec![message] };
    let found = fields(message).map(Result::unwrap).filter(|(field, _)| field == number);
    found
        .filter_map(|(_, payload)| if let Payload::Bytes(bytes) = payload { Some(bytes) } else { None })
        .flat_map(|bytes| inside(bytes, rest))
        .collect()
}

fn texts(message: &[u8], path: &[u64]) -> Vec<String> {
    inside(message, path).into_iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
}

/// The entry of a map of named messages.
fn named<'a>(entries: Vec<&'a [u8]>, name: &str) -> &'a [u8] {
    let entry = entries.into_iter().find(|entry| texts(entry, &[1]) == [name]).unwrap();
    inside(entry, &[2])[0]
}

#[test]
fn the_binary_form_of_version_2_says_the_same() {
    let (json, binary) = (v2(), v2_binary());
    assert_eq!(texts(&binary, &[1]), ["2.0"]);
    assert_eq!(inside(&binary, &[8, 2]).len(), json["paths"].as_object().unwrap().len());
    assert_eq!(inside(&binary, &[9, 1]).len(), json["definitions"].as_object().unwrap().len());

    let path = named(inside(&binary, &[8, 2]), "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let patch = inside(path, &[8])[0];
    assert_eq!(texts(patch, &[8, 1, 2, 3, 4]), ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(texts(patch, &[8, 1, 1, 2]), ["body"]);
    let kind = named(inside(patch, &[13]), "x-kubernetes-group-version-kind");
    assert_eq!(texts(kind, &[2]), [r#"{"group":"apps","kind":"Deployment","version":"v1"}"#]);
    let answer = named(inside(path, &[2, 9, 1]), "200");
    assert_eq!(texts(answer, &[1, 2, 1, 1]), ["#/definitions/io.k8s.api.apps.v1.Deployment"]);

    let pod_spec = named(inside(&binary, &[9, 1]), "io.k8s.api.core.v1.PodSpec");
    assert_eq!(
        (texts(pod_spec, &[19]), texts(pod_spec, &[22, 1])),
        (vec!["containers".to_owned()], vec!["object".to_owned()])
    );
    let containers = named(inside(pod_spec, &[25, 1]), "containers");
    assert_eq!(texts(containers, &[23, 1, 1]), ["#/definitions/io.k8s.api.core.v1.Container"]);
    assert_eq!(texts(named(inside(containers, &[31]), "x-kubernetes-patch-merge-key"), &[2]), [r#""name""#]);
    let selector = named(inside(pod_spec, &[25, 1]), "nodeSelector");
    assert_eq!(texts(selector, &[21, 1, 22, 1]), ["string"]);
}
