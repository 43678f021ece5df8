//! What comes back: forms of objects, discovery, errors.

use serde_json::json;

use super::{JSON, MERGE, World, config_map};

pub fn forms(world: &World) {
    let maps = format!("{}/configmaps", world.namespace("forms"));
    world.create(&maps, &config_map("a", "1"));
    let list = format!("{maps}?labelSelector=v");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let get = |path: &str, accept: &str| world.send("GET", path, accept, "", "");
    let found = get(&list, &format!("{table},{JSON}")).expect(200).body;
    assert_eq!((found["kind"].as_str(), found["apiVersion"].as_str()), (Some("Table"), Some("meta.k8s.io/v1")));
    assert_eq!((&found["rows"][0]["cells"][0], &found["rows"][0]["cells"][1]), (&json!("a"), &json!(1)));
    assert_eq!(found["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let one = get(&format!("{maps}/a"), table).expect(200).body;
    assert_eq!((one["kind"].as_str(), one["rows"].as_array().unwrap().len()), (Some("Table"), 1));
    let whole = get(&format!("{list}&includeObject=Object"), table).expect(200).body;
    assert_eq!(whole["rows"][0]["object"]["data"]["key"], "1");
    let partial = get(&format!("{maps}/a"), "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").body;
    assert_eq!((partial["kind"].as_str(), partial.get("data")), (Some("PartialObjectMetadata"), None));
    let partial = get(&list, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").body;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    for accept in ["", "*/*", "application/*", "application/vnd.kubernetes.protobuf, application/json"] {
        assert_eq!(get(&list, accept).expect(200).body["kind"], "ConfigMapList", "{accept}");
    }
    for accept in ["application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Frob"] {
        get(&list, accept).refused(406, "NotAcceptable");
    }
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {a: 'b'}\n";
    world.send("POST", &maps, JSON, "application/yaml", yaml).expect(201);
    assert!(world.get(&format!("{maps}/from-yaml")).body["metadata"].get("managedFields").is_none());
}

pub fn discovery(world: &World) {
    let aggregated =
        |version: &str| format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let get = |path: &str, accept: &str| world.send("GET", path, accept, "", "").expect(200);
    for (path, group) in [("/api", ""), ("/apis", "apps")] {
        let found = get(path, &format!("{},{JSON}", aggregated("v2")));
        assert_eq!(found.body["kind"], "APIGroupDiscoveryList");
        assert!(found.content_type.contains("as=APIGroupDiscoveryList"), "{}", found.content_type);
        let groups = found.body["items"].as_array().unwrap();
        assert!(groups.iter().any(|item| item["metadata"]["name"] == group), "{path}");
    }
    assert_eq!(get("/apis", &format!("{},{JSON}", aggregated("v2beta1"))).body["kind"], "APIGroupList");
    assert_eq!(get("/api", JSON).body["versions"], json!(["v1"]));
    let core = get("/api/v1", JSON).body;
    let verbs = |name: &str| {
        let resources = core["resources"].as_array().unwrap();
        resources.iter().find(|item| item["name"] == name).unwrap()["verbs"].to_string()
    };
    assert!(verbs("pods").contains("deletecollection") && !verbs("namespaces").contains("deletecollection"));
    assert_eq!(verbs("pods/binding"), r#"["create"]"#);
    let apps = get("/apis/apps/v1", JSON).body.to_string();
    assert!(apps.contains("deployments/scale") && apps.contains("autoscaling"));
    assert_eq!(get("/apis/apps", JSON).body["kind"], "APIGroup");
    let index = get("/openapi/v3", JSON).body;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert!(get(&url, JSON).body["components"]["schemas"].as_object().unwrap().len() > 50);
    assert_eq!(get("/openapi/v2", JSON).body["swagger"], "2.0");
    for path in ["/version", "/version/"] {
        let version = get(path, JSON).body;
        assert_eq!((version["major"].as_str(), version["minor"].as_str()), (Some("1"), Some("36")));
    }
}

pub fn errors(world: &World) {
    for (method, path, content_type, body, code, reason) in [
        ("GET", "/nowhere", JSON, "", 404, "NotFound"),
        ("GET", "/api/v2/pods", JSON, "", 404, "NotFound"),
        ("GET", "/api/v1/frobs", JSON, "", 404, "NotFound"),
        ("GET", "/apis/frob.example/v1", JSON, "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/pods/none", JSON, "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes", JSON, "", 404, "NotFound"),
        ("POST", "/api/v1/namespaces/default/pods", "text/plain", "{}", 415, "UnsupportedMediaType"),
        ("PATCH", "/api/v1/namespaces/default", JSON, "{}", 415, "UnsupportedMediaType"),
        ("PATCH", "/api/v1/namespaces/default", "application/apply-patch+yaml", "{}", 415, "UnsupportedMediaType"),
        ("PATCH", "/api/v1/namespaces/default", MERGE, "[]", 400, "BadRequest"),
        ("PATCH", "/api/v1/namespaces/default", MERGE, "{", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", JSON, "", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", JSON, "[]", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", JSON, r#"{"kind": "Pod"}"#, 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", JSON, r#"{"apiVersion": "v2"}"#, 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", "application/yaml", "a: [", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", "application/yaml", "a: 1\n---\nb: 1\n", 400, "BadRequest"),
        ("DELETE", "/api/v1/namespaces/none", JSON, "", 404, "NotFound"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", JSON, "{", 400, "BadRequest"),
    ] {
        let told = world.send(method, path, JSON, content_type, body);
        assert_eq!(told.status, code, "{method} {path} {content_type} {body}: {}", told.body);
        told.refused(code, reason);
    }
    let told = world.get("/api/v1/namespaces/default/pods/none");
    assert_eq!(told.message(), "pods \"none\" not found");
    assert_eq!(told.body["details"], json!({"name": "none", "kind": "pods"}));
}
