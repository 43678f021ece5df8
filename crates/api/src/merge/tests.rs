//! Tables of target, patch and expected object, among them what kubectl sends.

use serde_json::{Value, json};

use super::strategic;
use crate::resource::RESOURCES;

fn merged(kind: &str, target: &Value, patch: &Value) -> Result<Value, String> {
    let resource = RESOURCES.iter().find(|r| r.kind == kind).unwrap();
    let mut target = target.clone();
    strategic(resource, &mut target, patch).map(|()| target).map_err(|error| error.0)
}

fn check(kind: &str, target: Value, patch: Value, expected: Value) {
    assert_eq!(merged(kind, &target, &patch), Ok(expected), "{patch} into {target}");
}

/// A deployment with these containers.
fn deployment(containers: Value) -> Value {
    json!({"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}})
}

#[test]
fn set_image_keeps_the_other_containers() {
    let order = json!([{"name": "a"}, {"name": "b"}]);
    let patch = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": order, "containers": [{"image": "y:2", "name": "b"}]}}}});
    check(
        "Deployment",
        deployment(json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y", "args": ["1"]}])),
        patch,
        deployment(json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y:2", "args": ["1"]}])),
    );
}

#[test]
fn set_env_adds_orders_and_deletes_variables() {
    let target = deployment(
        json!([{"name": "a", "env": [{"name": "OLD", "value": "1"}, {"name": "SERVER", "value": "s"}, {"name": "KEEP", "value": "2"}]}]),
    );
    let container = json!({"name": "a", "$setElementOrder/env": [{"name": "NEW"}, {"name": "KEEP"}],
        "env": [{"name": "NEW", "value": "3"}, {"$patch": "delete", "name": "OLD"}]});
    let patch = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [container]}}}});
    let env = json!([{"name": "NEW", "value": "3"}, {"name": "SERVER", "value": "s"}, {"name": "KEEP", "value": "2"}]);
    check("Deployment", target, patch, deployment(json!([{"name": "a", "env": env}])));
}

#[test]
fn rollout_restart_and_scale() {
    let stamp =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "t"}}}}});
    check("Deployment", json!({"spec": {"replicas": 1}}), stamp.clone(), {
        let mut expected = stamp;
        expected["spec"]["replicas"] = json!(1);
        expected
    });
}

#[test]
fn apply_changes_a_strategy_and_a_volume_by_retained_keys() {
    let rolling = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    check("Deployment", rolling, patch, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let target = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}]}});
    let patch =
        json!({"spec": {"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]}});
    check(
        "Pod",
        target,
        patch,
        json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "w"}]}}),
    );
}

#[test]
fn what_kubectl_apply_sends() {
    let container =
        json!({"name": "c", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
    let spec =
        json!({"containers": [container, {"name": "d", "image": "y:1"}], "volumes": [{"name": "v", "emptyDir": {}}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "c"}],
        "$setElementOrder/volumes": [{"name": "v"}],
        "containers": [
            {"$setElementOrder/env": [{"name": "A"}], "env": [{"$patch": "delete", "name": "B"}], "image": "x:2", "name": "c"},
            {"$patch": "delete", "name": "d"},
        ],
        "volumes": [{"$retainKeys": ["configMap", "name"], "configMap": {"name": "q"}, "emptyDir": null, "name": "v"}],
    });
    let expected = json!({
        "containers": [{"name": "c", "image": "x:2", "env": [{"name": "A", "value": "1"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "q"}}],
    });
    let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    check("Deployment", template(spec), template(patch), template(expected));
}

#[test]
fn directives_on_lists_and_maps() {
    let ports = json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}});
    check(
        "Service",
        ports.clone(),
        json!({"spec": {"ports": [{"$patch": "delete", "port": 80}]}}),
        json!({"spec": {"ports": [{"port": 81, "name": "b"}]}}),
    );
    check(
        "Service",
        ports.clone(),
        json!({"spec": {"ports": [{"port": 9}, {"$patch": "replace"}]}}),
        json!({"spec": {"ports": [{"port": 9}]}}),
    );
    check(
        "Service",
        ports.clone(),
        json!({"spec": {"ports": [{"port": 81, "targetPort": 5}]}}),
        json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b", "targetPort": 5}]}}),
    );
    check("Service", ports, json!({"spec": {"$patch": "replace", "type": "x"}}), json!({"spec": {"type": "x"}}));
    check(
        "Service",
        json!({"spec": {"selector": {"a": "b"}}}),
        json!({"spec": {"selector": {"$patch": "delete"}}}),
        json!({"spec": {"selector": {}}}),
    );
    check(
        "Service",
        json!({"spec": {"selector": {"a": "b", "c": "d"}}}),
        json!({"spec": {"selector": {"a": null}}}),
        json!({"spec": {"selector": {"c": "d"}}}),
    );
    let finalizers = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["d", "a"], "finalizers": ["d"]}});
    check("Pod", finalizers, patch, json!({"metadata": {"finalizers": ["d", "a", "c"]}}));
}

#[test]
fn lists_without_a_key_are_replaced() {
    check(
        "Pod",
        json!({"spec": {"tolerations": [{"key": "a"}]}}),
        json!({"spec": {"tolerations": [{"key": "b"}]}}),
        json!({"spec": {"tolerations": [{"key": "b"}]}}),
    );
    check(
        "Node",
        json!({"spec": {"taints": [{"key": "a"}]}}),
        json!({"spec": {"taints": []}}),
        json!({"spec": {"taints": []}}),
    );
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "r"}, {"type": "X"}]}});
    let patch = json!({"status": {"$setElementOrder/conditions": [{"type": "Ready"}], "conditions": [{"type": "Ready", "status": "False"}]}});
    check(
        "Pod",
        ready,
        patch,
        json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "r"}, {"type": "X"}]}}),
    );
}

#[test]
fn no_directive_is_stored_where_the_target_is_empty() {
    let patch = json!({"spec": {"volumes": [{"$retainKeys": ["name"], "name": "v"}], "hostAliases": [{"$patch": "delete", "ip": "1"}], "nodeName": null}});
    check("Pod", json!({}), patch, json!({"spec": {"volumes": [{"name": "v"}], "hostAliases": []}}));
}

#[test]
fn bad_patches_say_why() {
    let cases = [
        (json!([]), "must be an object"),
        (json!({"$patch": "what"}), "unknown patch type"),
        (json!({"$what": 1}), "unknown directive"),
        (json!({"spec": {"containers": [{"image": "x"}]}}), "does not contain declared merge key: name"),
        (json!({"spec": {"containers": ["x"]}}), "no object"),
        (json!({"spec": {"containers": [{"$patch": "merge", "name": "x"}]}}), "cannot yet"),
        (json!({"spec": {"volumes": [{"$retainKeys": ["name"], "name": "v", "emptyDir": {}}]}}), "lacks \"emptyDir\""),
        (json!({"spec": {"$deleteFromPrimitiveList/containers": ["x"]}}), "list of values"),
        (json!({"spec": {"$setElementOrder/tolerations": []}}), "whose items are merged"),
        (json!({"spec": {"$setElementOrder/containers": [], "containers": [{"name": "x"}]}}), "do not agree"),
    ];
    for (patch, expected) in cases {
        let error = merged("Pod", &json!({"spec": {}}), &patch).unwrap_err();
        assert!(error.contains(expected), "{patch}: {error}");
    }
}
