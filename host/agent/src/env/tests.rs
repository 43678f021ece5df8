use std::net::Ipv4Addr;

use serde_json::json;
use wherry_api::kinds::{ConfigMap, Pod, Secret};

use super::*;
use crate::downward::Machine;

fn found() -> Found {
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "cfg" }, "data": { "A": "1", "B": "2" } })).unwrap();
    let secret: Secret =
        serde_json::from_value(json!({ "metadata": { "name": "s" }, "data": { "K": "c2VjcmV0" } })).unwrap();
    Found { config_maps: [("cfg".into(), map)].into(), secrets: [("s".into(), secret)].into(), ..Found::default() }
}

/// The words of a container with these fields, as text.
fn check(fields: serde_json::Value, expected: &str) {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u", "labels": { "app": "x" } },
        "spec": { "nodeName": "n1", "containers": [fields] },
    }))
    .unwrap();
    let container = pod.spec.as_ref().unwrap().containers[0].clone();
    let facts = Facts {
        pod: &pod,
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        host: Ipv4Addr::new(192, 168, 0, 1).into(),
        machine: Machine { cpu_milli: 2000, memory_bytes: 1 << 30 },
    };
    let services = vec![("SVC_SERVICE_HOST".into(), "10.96.0.7".into())];
    let text = match words(&container, &facts, &found(), services) {
        Ok(words) => {
            let env: Vec<String> = words.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} | {} | {}", env.join(" "), words.command.join(" "), words.args.join(" "))
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(text, expected, "{fields}");
}

#[test]
fn makes_words() {
    let svc = "SVC_SERVICE_HOST=10.96.0.7";
    let field = |path: &str| json!({ "name": "c", "env": [{ "name": "F", "valueFrom": { "fieldRef": { "fieldPath": path } } }] });
    let resource = |resource: &str, divisor: &str| {
        let selector = json!({ "resource": resource, "divisor": divisor });
        let limits = json!({ "limits": { "cpu": "250m", "memory": "64Mi" } });
        json!({ "name": "c", "resources": limits, "env": [{ "name": "R", "valueFrom": { "resourceFieldRef": selector } }] })
    };
    let key = |kind: &str, name: &str, key: &str, optional: bool| {
        let selector = json!({ "name": name, "key": key, "optional": optional });
        json!({ "name": "c", "env": [{ "name": "V", "valueFrom": { kind: selector } }] })
    };
    check(
        json!({ "name": "c", "command": ["run", "$(A)"], "args": ["$(P_A)", "$$(A)", "$(NONE)"],
            "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "cfg" } }, { "secretRef": { "name": "s" } }],
            "env": [{ "name": "A", "value": "$(SVC_SERVICE_HOST):80" }, { "name": "P_B", "value": "own" }] }),
        &format!("{svc} P_A=1 P_B=own K=secret A=10.96.0.7:80 | run 10.96.0.7:80 | 1 $(A) $(NONE)"),
    );
    check(field("metadata.name"), &format!("{svc} F=web |  | "));
    check(field("metadata.labels['app']"), &format!("{svc} F=x |  | "));
    check(field("status.podIP"), &format!("{svc} F=10.0.0.1 |  | "));
    check(field("status.phase"), "unsupported fieldPath: status.phase");
    check(resource("limits.cpu", "1m"), &format!("{svc} R=250 |  | "));
    check(resource("limits.cpu", "1"), &format!("{svc} R=1 |  | "));
    check(resource("limits.memory", "1Mi"), &format!("{svc} R=64 |  | "));
    check(key("configMapKeyRef", "cfg", "A", false), &format!("{svc} V=1 |  | "));
    check(key("configMapKeyRef", "cfg", "Z", true), &format!("{svc} |  | "));
    check(key("configMapKeyRef", "cfg", "Z", false), "couldn't find key Z in ConfigMap default/cfg");
    check(key("secretKeyRef", "none", "Z", false), "secret \"none\" not found");
    check(json!({ "name": "c", "envFrom": [{ "configMapRef": { "name": "no" } }] }), "configmap \"no\" not found");
}
