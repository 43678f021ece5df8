//! Watches: every kind, from where one left off, and through selectors.

use serde_json::{Value, json};

use super::{World, config_map, deployment, names, pod, version};

/// What objects of each resource look like; `core` stands for the path of a namespace of the test's own.
fn samples() -> Vec<(&'static str, Value)> {
    let meta = json!({"metadata": {"name": "seen"}});
    let with = |field: &str, value: Value| {
        let mut object = meta.clone();
        object[field] = value;
        object
    };
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    vec![
        ("/api/v1/namespaces", json!({"metadata": {"name": "seen-namespace"}})),
        ("/api/v1/nodes", with("spec", json!({"unschedulable": true}))),
        ("core/pods", pod("seen")),
        ("core/services", with("spec", json!({"ports": [{"port": 80}], "clusterIP": "None"}))),
        ("core/endpoints", with("subsets", json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]))),
        ("discovery.k8s.io/endpointslices", {
            let mut slice = with("addressType", json!("IPv4"));
            slice["endpoints"] = json!([{"addresses": ["10.1.2.3"]}]);
            slice
        }),
        ("core/configmaps", config_map("seen", "a")),
        ("core/secrets", with("stringData", json!({"a": "b"}))),
        ("core/serviceaccounts", meta.clone()),
        ("core/events", with("involvedObject", json!({"kind": "Pod", "namespace": "watched", "name": "x"}))),
        ("coordination.k8s.io/leases", with("spec", json!({"holderIdentity": "me"}))),
        ("apps/deployments", deployment("seen")),
        ("apps/replicasets", deployment("seen-set")),
        ("networking.k8s.io/ingresses", with("spec", json!({"defaultBackend": backend}))),
        ("networking.k8s.io/ingressclasses", with("spec", json!({"controller": "example.com/x"}))),
        ("node.k8s.io/runtimeclasses", with("handler", json!("wasm"))),
    ]
}

fn path(place: &str) -> String {
    match place.split_once('/') {
        Some(("core", plural)) => format!("/api/v1/namespaces/watched/{plural}"),
        Some(("networking.k8s.io" | "node.k8s.io", plural @ ("ingressclasses" | "runtimeclasses"))) => {
            let group = place.split('/').next().unwrap();
            format!("/apis/{group}/v1/{plural}")
        }
        Some((group, plural)) if !group.is_empty() => format!("/apis/{group}/v1/namespaces/watched/{plural}"),
        _ => place.to_owned(),
    }
}

pub fn every_kind(world: &World) {
    world.namespace("watched");
    for (place, object) in samples() {
        let path = path(place);
        let before = world.get(&path).expect(200).version();
        let created = world.create(&path, &object);
        let name = created["metadata"]["name"].as_str().unwrap();
        let one = format!("{path}/{name}");
        world.merge(&one, &json!({"metadata": {"annotations": {"seen": "twice"}}})).expect(200);
        world.delete(&one, &json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"})).expect(200);
        let field = format!("fieldSelector=metadata.name%3D{name}");
        let events = world.events(&format!("{path}?watch=true&resourceVersion={before}&{field}"), 3);
        let mut kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        // A namespace goes when its controller says so; other controllers write status, or taints, meanwhile.
        kinds.dedup();
        let expected: &[&str] = match place {
            "/api/v1/namespaces"
            | "/api/v1/nodes"
            | "apps/deployments"
            | "apps/replicasets"
            | "networking.k8s.io/ingresses" => &["ADDED", "MODIFIED"],
            _ => &["ADDED", "MODIFIED", "DELETED"],
        };
        assert_eq!(kinds.get(..expected.len()), Some(expected), "{place}: {events:?}");
        let versions: Vec<u64> = events.iter().map(|(_, object)| version(object).parse().unwrap()).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{place}: {versions:?}");
        assert_eq!(events[0].1["kind"], created["kind"], "{place}");
    }
}

pub fn resumed(world: &World) {
    let maps = format!("{}/configmaps", world.namespace("resumed"));
    let first = world.create(&maps, &config_map("a", "1"));
    world.create(&maps, &config_map("b", "1"));
    let watch = |query: &str, count| world.events(&format!("{maps}?watch=1&{query}"), count);
    let told = |events: &[(String, Value)]| -> Vec<String> {
        let line =
            |(kind, object): &(String, Value)| format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or("-"));
        events.iter().map(line).collect()
    };
    // The controller of namespaces may add its own, so all is asked for by label.
    let labels = "labelSelector=v%3D1";
    assert_eq!(told(&watch(&format!("resourceVersion={}&{labels}", version(&first)), 1)), ["ADDED b"]);
    assert_eq!(told(&watch(labels, 2)), ["ADDED a", "ADDED b"]);
    assert_eq!(told(&watch(&format!("resourceVersion=0&{labels}"), 2)), ["ADDED a", "ADDED b"]);

    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = watch(&format!("{initial}&{labels}"), 3);
    assert_eq!(told(&events), ["ADDED a", "ADDED b", "BOOKMARK -"]);
    let marked = &events[2].1;
    assert_eq!(marked["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((marked["kind"].as_str(), marked["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    world.create(&maps, &config_map("c", "1"));
    assert_eq!(told(&watch(&format!("resourceVersion={}&{labels}", version(marked)), 1)), ["ADDED c"]);

    // It ends by itself, and says where it stood.
    let begun = version(&world.create(&maps, &config_map("d", "2")));
    let after = world.create(&maps, &config_map("e", "2"));
    let last = watch(&format!("resourceVersion={begun}&{labels}&timeoutSeconds=1&allowWatchBookmarks=true"), 9);
    assert_eq!(told(&last), ["BOOKMARK -"]);
    assert!(version(&last[0].1).parse::<u64>().unwrap() >= version(&after).parse().unwrap());
    assert!(watch(&format!("resourceVersion={begun}&{labels}&timeoutSeconds=1"), 9).is_empty());

    world.get(&format!("{maps}?watch=1&resourceVersion=x")).refused(400, "BadRequest");
    world.get(&format!("{maps}?watch=1&sendInitialEvents=true")).refused(422, "Invalid");
    let early = world.get(&format!("{maps}?watch=1&resourceVersion=999999999999"));
    early.refused(504, "Timeout");
    assert_eq!(early.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

pub fn selected(world: &World) {
    let core = world.namespace("selected");
    let maps = format!("{core}/configmaps");
    let before = world.get(&maps).version();
    world.create(&maps, &config_map("a", "out"));
    for value in ["in", "in", "out", "in"] {
        let changed = json!({"metadata": {"labels": {"v": value}}, "data": {"n": value}});
        world.merge(&format!("{maps}/a"), &changed).expect(200);
        world.merge(&format!("{maps}/a"), &json!({"data": {"n": null}})).expect(200);
    }
    world.delete(&format!("{maps}/a"), &json!({})).expect(200);
    let events = world.events(&format!("{maps}?watch=1&resourceVersion={before}&labelSelector=v%3Din"), 8);
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED", "ADDED", "MODIFIED", "DELETED"];
    assert_eq!(kinds, expected);

    let pods = format!("{core}/pods");
    let before = world.get(&pods).version();
    world.create(&pods, &pod("p"));
    world.merge(&format!("{pods}/p/status"), &json!({"status": {"phase": "Running"}})).expect(200);
    world.merge(&format!("{pods}/p/status"), &json!({"status": {"phase": "Failed"}})).expect(200);
    let selector = "fieldSelector=status.phase%3DRunning%2Cspec.nodeName%3D";
    let events = world.events(&format!("{pods}?watch=1&resourceVersion={before}&{selector}"), 2);
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["ADDED", "DELETED"]);
    assert_eq!(names(&world.get(&format!("{pods}?fieldSelector=status.phase%3DFailed")).body), ["p"]);
}
