//! Tables of objects and the cells that Kubernetes prints for them.

use serde_json::{Value, json};

use super::{cells, columns};
use crate::resource::RESOURCES;

fn check(kind: &str, object: &Value, expected: &str) {
    let resource = RESOURCES.iter().find(|r| r.kind == kind).unwrap();
    let now = "2026-01-10T12:00:00Z".parse().unwrap();
    let cells = cells(resource, object, now);
    assert_eq!(cells.len(), columns(resource).len(), "{kind}");
    let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    assert_eq!(cells.iter().map(text).collect::<Vec<_>>().join(" | "), expected);
}

fn pod(status: &Value, expected: &str) {
    let sidecar = json!({"name": "mesh", "restartPolicy": "Always"});
    let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}, sidecar]});
    let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
    let suffix = "<unknown> | <none> | <none> | <none> | <none>";
    check("Pod", &pod, &format!("p | {expected} | {suffix}"));
}

#[test]
fn pods() {
    let running = json!({"name": "a", "ready": true, "state": {"running": {}}});
    let failed = json!({"terminated": {"exitCode": 2, "finishedAt": "2026-01-10T11:58:30Z"}});
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
    let mesh = json!({"name": "mesh", "started": true, "ready": true, "state": {"running": {}}});
    pod(&json!({"phase": "Pending"}), "0/3 | Pending | 0");
    pod(
        &json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
        "0/3 | Init:0/2 | 0",
    );
    pod(
        &json!({"initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1}}, "restartCount": 2}]}),
        "0/3 | Init:ExitCode:1 | 2",
    );
    pod(
        &json!({"initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
        "0/3 | Init:CrashLoopBackOff | 0",
    );
    pod(
        &json!({"phase": "Running", "initContainerStatuses": [done, mesh], "containerStatuses": [running, running]}),
        "3/3 | Running | 0",
    );
    let crash = json!({"name": "b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": failed});
    pod(&json!({"phase": "Running", "containerStatuses": [running, crash]}), "1/3 | CrashLoopBackOff | 3 (90s ago)");
    let completed = json!({"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    pod(&json!({"phase": "Running", "containerStatuses": [running, completed]}), "1/3 | NotReady | 0");
    let starting = json!({"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}});
    pod(
        &json!({"phase": "Pending", "initContainerStatuses": [done], "containerStatuses": [starting]}),
        "0/3 | PodInitializing | 0",
    );
    let deleted = json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-10T09:00:00Z", "deletionTimestamp": "2026-01-10T12:00:00Z"},
        "spec": {"nodeName": "n", "containers": [{}], "readinessGates": [{"conditionType": "g"}]}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
    check("Pod", &deleted, "p | 0/1 | Terminating | 0 | 3h | 10.0.0.1 | n | <none> | 0/1");
}

#[test]
fn workloads() {
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]},
        "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j"}]}}});
    let object = json!({"metadata": {"name": "w", "creationTimestamp": "2026-01-10T11:55:53Z"}, "spec": spec,
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}});
    check("Deployment", &object, "w | 2/3 | 1 | 2 | 4m7s | c,d | i:1,j | a in (x,y),app=web");
    check("ReplicaSet", &object, "w | 3 | 3 | 2 | 4m7s | c,d | i:1,j | a in (x,y),app=web");
}

#[test]
fn services_and_endpoints() {
    let ports = json!([{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
    let service = |spec: Value| json!({"metadata": {"name": "s"}, "spec": spec});
    check(
        "Service",
        &service(json!({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": ports, "selector": {"app": "web"}})),
        "s | NodePort | 10.96.0.7 | <none> | 80:30080/TCP,53/UDP | <unknown> | app=web",
    );
    check(
        "Service",
        &service(json!({"type": "LoadBalancer", "clusterIPs": ["None"]})),
        "s | LoadBalancer | None | <pending> | <none> | <unknown> | <none>",
    );
    check(
        "Service",
        &service(json!({"type": "ExternalName", "externalName": "x.org"})),
        "s | ExternalName | <none> | x.org | <none> | <unknown> | <none>",
    );
    let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "fd00::1"}, {"ip": "10.0.0.4"}]);
    check(
        "Endpoints",
        &json!({"metadata": {"name": "e"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}),
        "e | 10.0.0.1:80,10.0.0.2:80,[fd00::1]:80 + 1 more... | <unknown>",
    );
    check(
        "EndpointSlice",
        &json!({"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}], "endpoints": []}),
        "e | IPv4 | 80,x | <unset> | <unknown>",
    );
    check(
        "Ingress",
        &json!({"metadata": {"name": "i"}, "spec": {"rules": [{"host": "a.b"}], "tls": [{}]}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
        "i | <none> | a.b | 1.2.3.4 | 80, 443 | <unknown>",
    );
    check(
        "IngressClass",
        &json!({"metadata": {"name": "c"}, "spec": {"controller": "w/i", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}}),
        "c | w/i | K.g/n | <unknown>",
    );
}

#[test]
fn other_kinds() {
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
        "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}], "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Linux"}}});
    check(
        "Node",
        &node,
        "n | Ready,SchedulingDisabled | edge,worker | <unknown> | v1.36.0 | 10.1.1.1 | <none> | Linux | <unknown> | <unknown>",
    );
    check("Namespace", &json!({"metadata": {"name": "x"}, "status": {"phase": "Active"}}), "x | Active | <unknown>");
    check(
        "ConfigMap",
        &json!({"metadata": {"name": "x"}, "data": {"a": "b"}, "binaryData": {"c": ""}}),
        "x | 2 | <unknown>",
    );
    check("Secret", &json!({"metadata": {"name": "x"}, "type": "Opaque"}), "x | Opaque | 0 | <unknown>");
    check("ServiceAccount", &json!({"metadata": {"name": "x"}}), "x | 0 | <unknown>");
    check("Lease", &json!({"metadata": {"name": "x"}, "spec": {"holderIdentity": "h"}}), "x | h | <unknown>");
    check("RuntimeClass", &json!({"metadata": {"name": "x"}, "handler": "wasm"}), "x | wasm | <unknown>");
    let event = json!({"metadata": {"name": "x"}, "type": "Normal", "reason": "Pulled", "message": "m\n", "firstTimestamp": null,
        "eventTime": "2026-01-10T11:59:00.000000Z", "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n"}});
    check("Event", &event, "60s | Normal | Pulled | pod/p |  | kubelet, n | m | 60s | 1 | x");
}

#[test]
fn ages() {
    let now = "2026-01-10T12:00:00Z".parse().unwrap();
    let cases = [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (607, "10m"),
        (10_799, "179m"),
        (12_000, "3h20m"),
        (86_400, "24h"),
        (180_000, "2d2h"),
        (800_000, "9d"),
        (63_072_000, "2y"),
        (-5, "<invalid>"),
    ];
    for (seconds, expected) in cases {
        let then = now - jiff::SignedDuration::from_secs(seconds);
        assert_eq!(super::age::human(now, then), expected, "{seconds}");
    }
}
