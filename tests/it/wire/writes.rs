//! Writing: what must hold, how objects go, what a dry run leaves, and what never changes.

use serde_json::{Value, json};

use super::{JSON, MERGE, World, config_map, deployment, names, pod, version};

pub fn preconditions(world: &World) {
    let core = world.namespace("preconditions");
    let maps = format!("{core}/configmaps");
    let one = format!("{maps}/a");
    let first = world.create(&maps, &config_map("a", "1"));
    world.post(&maps, &config_map("a", "1")).refused(409, "AlreadyExists");
    let second = world.merge(&one, &json!({"data": {"key": "2"}})).expect(200);
    world.put(&one, &first).refused(409, "Conflict");
    let stale = json!({"metadata": {"resourceVersion": version(&first)}, "data": {"key": "3"}});
    world.merge(&one, &stale).refused(409, "Conflict");
    world.merge(&one, &json!({"metadata": {"uid": "other"}})).refused(409, "Conflict");
    let mut free = config_map("a", "4");
    free["metadata"]["uid"] = second.body["metadata"]["uid"].clone();
    let put = world.put(&one, &free).expect(200);
    assert_eq!(put.body["metadata"]["creationTimestamp"], first["metadata"]["creationTimestamp"]);
    let same = world.put(&one, &put.body).expect(200);
    assert_eq!(same.version(), put.version(), "what changes nothing writes nothing");

    for (field, value) in [("uid", "other".to_owned()), ("resourceVersion", version(&first))] {
        world.delete(&one, &json!({"preconditions": {field: value}})).refused(409, "Conflict");
    }
    let right = json!({"uid": first["metadata"]["uid"], "resourceVersion": put.version()});
    world.delete(&one, &json!({"preconditions": right})).expect(200);
    world.delete(&one, &json!({})).refused(404, "NotFound");

    let generated = world.create(&maps, &json!({"metadata": {"generateName": "made-"}}));
    let name = generated["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("made-") && name.len() == 10, "{name}");
    world.post(&maps, &json!({"data": {}})).refused(422, "Invalid");
    world.put(&one, &config_map("b", "1")).refused(404, "NotFound");
    world.put(&format!("{maps}/{name}"), &config_map("b", "1")).refused(400, "BadRequest");
    let elsewhere = json!({"metadata": {"name": "x", "namespace": "default"}});
    world.post(&maps, &elsewhere).refused(400, "BadRequest");
    world.post("/api/v1/namespaces/nowhere/configmaps", &config_map("a", "1")).refused(404, "NotFound");
}

pub fn deletions(world: &World) {
    let core = world.namespace("deletions");
    let maps = format!("{core}/configmaps");
    let mut kept = config_map("kept", "1");
    kept["metadata"]["finalizers"] = json!(["example.com/wait"]);
    world.create(&maps, &kept);
    let one = format!("{maps}/kept");
    let marked = world.delete(&one, &json!({})).expect(200);
    assert_eq!(
        (marked.body["kind"].as_str(), marked.body["metadata"]["name"].as_str()),
        (Some("ConfigMap"), Some("kept"))
    );
    assert!(marked.body["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["example.com/wait", "example.com/late"], "labels": {"x": "y"}}});
    let patched = world.merge(&one, &more).expect(200);
    assert_eq!(patched.body["metadata"]["finalizers"], json!(["example.com/wait"]));
    world.merge(&one, &json!({"metadata": {"finalizers": null}})).expect(200);
    world.get(&one).refused(404, "NotFound");

    let gone = world.create(&maps, &config_map("gone", "1"));
    let status = world.delete(&format!("{maps}/gone"), &json!({})).expect(200).body;
    assert_eq!((status["kind"].as_str(), status["status"].as_str()), (Some("Status"), Some("Success")));
    assert_eq!(status["details"]["uid"], gone["metadata"]["uid"]);

    for (name, value) in [("a", "1"), ("b", "2"), ("c", "1")] {
        world.create(&maps, &config_map(name, value));
    }
    let collection = format!("{maps}?labelSelector=v%3D1");
    let deleted = world.delete(&collection, &json!({})).expect(200);
    assert_eq!(names(&deleted.body), ["a", "c"]);
    assert_eq!(names(&world.get(&format!("{maps}?labelSelector=v")).body), ["b"]);
    for method in ["POST", "DELETE"] {
        world.send(method, "/api/v1/configmaps", JSON, JSON, "{}").refused(405, "MethodNotAllowed");
    }
    world.delete("/api/v1/namespaces", &json!({})).refused(405, "MethodNotAllowed");
    world.delete(&format!("{maps}/b"), &json!({"kind": "Pod"})).refused(400, "BadRequest");
    world.delete(&format!("{maps}/b"), &json!({"propagationPolicy": "Never"})).refused(422, "Invalid");
    world.get(&format!("{maps}/b")).expect(200);
}

/// What the whole cluster's objects of a namespace look like.
fn contents(world: &World, paths: &[String]) -> Vec<Value> {
    paths.iter().map(|path| world.get(path).expect(200).body["items"].clone()).collect()
}

pub fn dry_runs(world: &World) {
    let core = world.namespace("dry");
    let paths = ["configmaps", "pods", "services"].map(|plural| format!("{core}/{plural}"));
    let [maps, pods, services] = &paths;
    world.create(maps, &config_map("a", "1"));
    world.create(pods, &pod("p"));
    let apps = "/apis/apps/v1/namespaces/dry/deployments".to_owned();
    world.create(&apps, &deployment("d"));
    let before = contents(world, &paths);
    let replicas = || world.get(&format!("{apps}/d")).body["spec"].clone();
    let spec = replicas();
    let created = world.post(&format!("{maps}?dryRun=All"), &config_map("b", "1")).expect(201);
    assert!(created.body["metadata"]["uid"].is_string());
    world.post(&format!("{maps}?dryRun=All"), &config_map("a", "1")).refused(409, "AlreadyExists");
    world.post(&format!("{maps}?dryRun=All"), &config_map("Not A Name", "1")).refused(422, "Invalid");
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let service = world.post(&format!("{services}?dryRun=All"), &service).expect(201);
    assert!(service.body["spec"]["clusterIP"].is_string());
    let one = format!("{maps}/a");
    let put = world.put(&format!("{one}?dryRun=All"), &config_map("a", "2")).expect(200);
    assert_eq!(put.body["data"]["key"], "2");
    world.merge(&format!("{one}?dryRun=All"), &json!({"data": {"key": "3"}})).expect(200);
    world.delete(&format!("{one}?dryRun=All"), &json!({})).expect(200);
    world.delete(&one, &json!({"dryRun": ["All"]})).expect(200);
    world.delete(&format!("{maps}?dryRun=All"), &json!({})).expect(200);
    world.delete(maps, &json!({"dryRun": ["All"]})).expect(200);
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    world.post(&format!("{pods}/p/binding?dryRun=All"), &binding).expect(201);
    world.post(&format!("{pods}/p/eviction?dryRun=All"), &json!({})).expect(201);
    world.post(&format!("{pods}/p/eviction"), &json!({"deleteOptions": {"dryRun": ["All"]}})).expect(201);
    world.merge(&format!("{pods}/p/status?dryRun=All"), &json!({"status": {"phase": "Failed"}})).expect(200);
    let scaled = world.merge(&format!("{apps}/d/scale?dryRun=All"), &json!({"spec": {"replicas": 7}})).expect(200);
    assert_eq!(scaled.body["spec"]["replicas"], 7);
    world.put("/api/v1/namespaces/dry/finalize?dryRun=All", &json!({"spec": {"finalizers": []}})).expect(200);
    world.delete("/api/v1/namespaces/dry?dryRun=All", &json!({})).expect(200);
    assert_eq!(contents(world, &paths), before);
    assert_eq!(replicas(), spec);
    let namespace = world.get("/api/v1/namespaces/dry").body;
    assert_eq!(
        (&namespace["status"]["phase"], &namespace["spec"]["finalizers"]),
        (&json!("Active"), &json!(["kubernetes"]))
    );
    world.post(&format!("{maps}?dryRun=Some"), &config_map("b", "1")).refused(400, "BadRequest");
    world.delete(&one, &json!({"dryRun": ["Some"]})).refused(422, "Invalid");
}

pub fn field_validation(world: &World) {
    let maps = format!("{}/configmaps", world.namespace("validation"));
    let body =
        |name: &str| format!(r#"{{"metadata": {{"name": "{name}"}}, "frob": 1, "data": {{"a": "1", "a": "2"}}}}"#);
    let send =
        |mode: &str, name: &str| world.send("POST", &format!("{maps}?fieldValidation={mode}"), JSON, JSON, body(name));
    let (duplicate, unknown) = ("duplicate field \\\"data.a\\\"", "unknown field \\\"frob\\\"");
    for (mode, expected) in [("", 2), ("Warn", 2), ("Ignore", 0)] {
        let told = send(mode, &format!("m{}", mode.to_lowercase())).expect(201);
        assert_eq!(told.warnings.len(), expected, "{mode}: {:?}", told.warnings);
        assert_eq!((told.body["data"]["a"].as_str(), told.body.get("frob")), (Some("2"), None));
        if expected > 0 {
            assert_eq!(told.warnings, [format!("299 - \"{duplicate}\""), format!("299 - \"{unknown}\"")]);
        }
    }
    let strict = send("Strict", "strict");
    strict.refused(400, "BadRequest");
    assert_eq!(strict.message().matches("cannot be handled as").count(), 1, "{}", strict.message());
    let path = format!("{maps}/m");
    let patch = json!({"frob": 2}).to_string();
    let strict = world.send("PATCH", &format!("{path}?fieldValidation=Strict"), JSON, MERGE, patch.clone());
    strict.refused(400, "BadRequest");
    assert!(strict.message().contains("strict decoding error: unknown field \"frob\""), "{}", strict.message());
    assert_eq!(strict.message().matches("cannot be handled as").count(), 1, "{}", strict.message());
    assert_eq!(world.send("PATCH", &path, JSON, MERGE, patch).expect(200).warnings.len(), 1);
    let twice = r#"{"data": {"a": "1", "a": "3"}}"#;
    assert_eq!(world.send("PATCH", &path, JSON, MERGE, twice).expect(200).warnings.len(), 1);
    world.send("PATCH", &format!("{path}?fieldValidation=Strict"), JSON, MERGE, twice).refused(400, "BadRequest");
    send("Loosely", "x").refused(400, "BadRequest");
    let wrong = json!({"metadata": {"name": "x"}, "data": {"a": [1]}});
    let told = world.post(&maps, &wrong);
    told.refused(400, "BadRequest");
    assert!(told.message().contains("data.a"), "{}", told.message());
    world.get(&format!("{maps}/x")).refused(404, "NotFound");
    let ill = json!({"metadata": {"name": "X_", "labels": {"a b": "-"}}, "data": {"c d": "e"}});
    let told = world.post(&maps, &ill);
    told.refused(422, "Invalid");
    let causes = told.body["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 4, "all faults in one answer: {causes:?}");
}

pub fn subresources(world: &World) {
    let core = world.namespace("parts");
    let apps = "/apis/apps/v1/namespaces/parts/deployments".to_owned();
    let made = world.create(&apps, &deployment("d"));
    assert_eq!(made["metadata"]["generation"], 1);
    let one = format!("{apps}/d");
    let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
    let labelled =
        world.merge(&one, &json!({"metadata": {"labels": {"x": "y"}}, "status": {"replicas": 77}})).expect(200);
    assert_eq!(generation(&labelled.body), 1, "labels are no wish");
    assert_ne!(labelled.body["status"]["replicas"], 77, "status is written through status");
    let changed = json!({"spec": {"replicas": 9}, "status": {"conditions": [{"type": "Mine", "status": "True"}]}});
    let status = world.merge(&format!("{one}/status"), &changed).expect(200).body;
    assert_eq!((generation(&status), &status["spec"]["replicas"]), (1, &json!(0)));
    assert!(status["status"]["conditions"].to_string().contains("Mine"));

    let scale = world.get(&format!("{one}/scale")).expect(200).body;
    assert_eq!((scale["kind"].as_str(), scale["status"]["selector"].as_str()), (Some("Scale"), Some("a=d")));
    let mut wanted = scale.clone();
    wanted["metadata"]["resourceVersion"] = "1".into();
    wanted["spec"]["replicas"] = 1.into();
    world.put(&format!("{one}/scale"), &wanted).refused(409, "Conflict");
    wanted["metadata"]["resourceVersion"] = "".into();
    world.put(&format!("{one}/scale"), &wanted).expect(200);
    assert_eq!(generation(&world.get(&one).body), 2);
    world.merge(&format!("{one}/scale"), &json!({"spec": {"replicas": -1}})).refused(422, "Invalid");
    world.merge(&format!("{one}/scale"), &json!({"spec": {"replicas": "x"}})).refused(400, "BadRequest");

    let pods = format!("{core}/pods");
    world.create(&pods, &pod("p"));
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    world.post(&format!("{pods}/p/binding"), &json!({})).refused(400, "BadRequest");
    world.post(&format!("{pods}/p/binding"), &binding).expect(201);
    world.post(&format!("{pods}/p/binding"), &binding).refused(409, "Conflict");
    let bound = world.get(&format!("{pods}/p")).body;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let phase = world.merge(&format!("{pods}/p/status"), &json!({"status": {"phase": "Running"}})).expect(200);
    assert_eq!(phase.body["spec"], bound["spec"]);
    for (method, path) in [
        ("GET", format!("{pods}/p/binding")),
        ("PUT", format!("{pods}/p/log")),
        ("POST", format!("{pods}/p/status")),
        ("DELETE", format!("{pods}/p/status")),
        ("POST", format!("{pods}/p")),
        ("PUT", pods.clone()),
        ("PATCH", pods.clone()),
        ("FROB", pods.clone()),
        ("POST", "/api/v1".to_owned()),
    ] {
        world.send(method, &path, JSON, JSON, "{}").refused(405, "MethodNotAllowed");
    }
    world.get(&format!("{pods}/p/scale")).refused(404, "NotFound");
    world.get(&format!("{pods}/p/frob")).refused(404, "NotFound");
}

pub fn immutable(world: &World) {
    let core = world.namespace("immutable");
    let apps = "/apis/apps/v1/namespaces/immutable/deployments";
    world.create(apps, &deployment("d"));
    world.create(&format!("{core}/pods"), &pod("p"));
    world.create(&format!("{core}/services"), &json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}));
    let mut fixed = config_map("m", "1");
    fixed["immutable"] = true.into();
    world.create(&format!("{core}/configmaps"), &fixed);
    world.create(
        &format!("{core}/secrets"),
        &json!({"metadata": {"name": "x"}, "immutable": true, "stringData": {"a": "b"}}),
    );
    let labels = json!({"a": "other"});
    let selector = json!({"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}});
    for (path, patch) in [
        (format!("{apps}/d"), selector),
        (format!("{core}/pods/p"), json!({"spec": {"restartPolicy": "Never"}})),
        (format!("{core}/services/s"), json!({"spec": {"clusterIP": "10.96.77.77", "clusterIPs": ["10.96.77.77"]}})),
        (format!("{core}/configmaps/m"), json!({"data": {"key": "2"}})),
        (format!("{core}/configmaps/m"), json!({"immutable": null})),
        (format!("{core}/secrets/x"), json!({"data": {"a": "eA=="}})),
        (format!("{core}/secrets/x"), json!({"type": "other"})),
    ] {
        let before = world.get(&path).body;
        world.merge(&path, &patch).refused(422, "Invalid");
        assert_eq!(world.get(&path).body["spec"], before["spec"], "{path}");
    }
    let images = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "i:2"}]);
    let patched =
        world.send("PATCH", &format!("{core}/pods/p"), JSON, "application/json-patch+json", images.to_string());
    assert_eq!(patched.expect(200).body["spec"]["containers"][0]["image"], "i:2");
    for server in ["uid", "creationTimestamp"] {
        let kept = world.get(&format!("{core}/configmaps/m")).body["metadata"][server].clone();
        let put = world.merge(&format!("{core}/configmaps/m"), &json!({"metadata": {server: null}})).expect(200);
        assert_eq!(put.body["metadata"][server], kept);
    }
}
