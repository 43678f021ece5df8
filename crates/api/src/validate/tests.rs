//! Objects, and the faults that each must be told: all of them, and no others.

use serde_json::Value;

use crate::resource::{AdmitError, FieldValidation, Write, find_kind};
use crate::yaml;

fn admitted(write: Write, old: Option<&Value>, object: Value) -> Result<Value, Vec<String>> {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let row = find_kind(version, kind).unwrap();
    match (row.admit)(write, FieldValidation::Strict, old, object.clone()) {
        Ok(admitted) => Ok(admitted.object),
        Err(AdmitError::Malformed(sentence)) => Err(vec![sentence]),
        Err(AdmitError::Invalid(causes)) => {
            Err(causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect())
        }
    }
}

fn object(text: &str) -> Value {
    let (kind, rest) = text.split_once(' ').unwrap();
    let version = match kind {
        "Deployment" | "ReplicaSet" => "apps/v1",
        "Ingress" | "IngressClass" => "networking.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "Lease" => "coordination.k8s.io/v1",
        "RuntimeClass" => "node.k8s.io/v1",
        "CertificateSigningRequest" => "certificates.k8s.io/v1",
        "PodDisruptionBudget" => "policy/v1",
        _ => "v1",
    };
    let mut object = yaml::parse(&format!("{{{rest}}}")).unwrap().remove(0);
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    if object.get("metadata").is_none() {
        object["metadata"] = serde_json::json!({"name": "a", "namespace": "b"});
    }
    object
}

fn compare(text: &str, found: Result<Value, Vec<String>>, expected: &[&str]) {
    let found = found.err().unwrap_or_default();
    let all = expected.iter().all(|part| found.iter().any(|fault| fault.contains(part)));
    assert!(all && found.len() == expected.len(), "{text}\nwanted {expected:#?}\nfound {found:#?}");
}

/// Parts of the faults of a new object.
fn check(text: &str, expected: &[&str]) {
    compare(text, admitted(Write::Create, None, object(text)), expected);
}

/// Parts of the faults of a change: both objects are valid by themselves.
fn change(old: &str, new: &str, expected: &[&str]) {
    let old = admitted(Write::Create, None, object(old)).unwrap();
    compare(new, admitted(Write::Update, Some(&old), object(new)), expected);
}

#[test]
fn services() {
    check("Service spec: {ports: [{port: 80}]}", &[]);
    check("Service spec: {}", &["spec.ports: Required value"]);
    check("Service metadata: {name: 1a}, spec: {ports: [{port: 80}]}", &["metadata.name: Invalid value"]);
    check(
        "Service spec: {ports: [{port: 80}, {port: 0, name: A}, {port: 65536, name: b, targetPort: 0}]}",
        &[
            "ports[0].name: Required",
            "ports[1].name: Invalid",
            "ports[1].port: Invalid",
            "ports[1].targetPort",
            "ports[2].port: Invalid",
            "ports[2].targetPort",
        ],
    );
    check(
        "Service spec: {ports: [{port: 80, name: a}, {port: 80, name: a}, {port: 80, name: b, protocol: UDP}]}",
        &["spec.ports[1].name: Duplicate value", "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"],
    );
    check("Service spec: {ports: [{port: 80, protocol: HTTP}]}", &["spec.ports[0].protocol: Unsupported value"]);
    check(
        "Service spec: {ports: [{port: 80, nodePort: 30000}]}",
        &["nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    check("Service spec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}", &["nodePort: Invalid value: 80"]);
    check(
        "Service spec: {type: NodePort, ports: [{port: 1, name: a, nodePort: 30000}, {port: 2, name: b, nodePort: 30000}]}",
        &["spec.ports[1].nodePort: Duplicate value"],
    );
    check(
        "Service spec: {type: NodePort, clusterIP: None, ports: [{port: 80}]}",
        &["clusterIPs[0]: Invalid value: \"None\""],
    );
    check("Service spec: {type: ExternalName, externalName: example.com}", &[]);
    check("Service spec: {type: ExternalName}", &["spec.externalName: Required value"]);
    check("Service spec: {clusterIP: x, ports: [{port: 80}]}", &["spec.clusterIP: Invalid value"]);
    check(
        "Service spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 80}]}",
        &["clusterIPs[0]: Invalid"],
    );
    check("Service spec: {ipFamilies: [IPv6], ports: [{port: 80}]}", &["spec.ipFamilies[0]: Invalid value"]);
    check(
        "Service spec: {externalTrafficPolicy: Local, ports: [{port: 80}]}",
        &["spec.externalTrafficPolicy: Invalid value"],
    );
    check("Service spec: {externalIPs: [127.0.0.1], ports: [{port: 80}]}", &["spec.externalIPs[0]: Invalid value"]);
    check(
        "Service spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 80}]}",
        &["timeoutSeconds: Invalid value: 0"],
    );
    check(
        "Service spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}, ports: [{port: 80}]}",
        &["sessionAffinityConfig: Forbidden"],
    );
}

#[test]
fn services_that_change() {
    let old = "Service spec: {type: NodePort, clusterIP: 10.96.0.9, ports: [{port: 80, nodePort: 30000}]}";
    change(
        old,
        "Service spec: {clusterIP: 10.96.0.10, type: NodePort, ports: [{port: 80}]}",
        &["spec.clusterIP: Invalid value"],
    );
    change(
        old,
        "Service spec: {type: ClusterIP, clusterIP: 10.96.0.9, externalTrafficPolicy: Cluster, ports: [{port: 80, nodePort: 30000}]}",
        &[],
    );
    change(
        old,
        "Service spec: {type: ExternalName, externalName: a, clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], ports: [{port: 80}]}",
        &[],
    );
}

fn pod(spec: &str) -> String {
    format!("Pod spec: {{containers: [{{name: c, image: i}}], {spec}}}")
}

#[test]
fn containers() {
    let container = |fields: &str| format!("Pod spec: {{containers: [{{name: c, image: i, {fields}}}]}}");
    check("Pod spec: {containers: []}", &["spec.containers: Required value"]);
    check(
        "Pod spec: {containers: [{name: A, image: ' i'}]}",
        &["containers[0].name: Invalid", "containers[0].image: Invalid"],
    );
    for (fields, expected) in [
        (
            "resources: {requests: {cpu: 2}, limits: {cpu: 1}}",
            &["requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"][..],
        ),
        (
            "resources: {requests: {memory: -1, cpu: 1x, frob: 1}}",
            &["requests[memory]", "requests[cpu]", "requests[frob]"],
        ),
        (
            "ports: [{containerPort: 80, name: a}, {containerPort: 0, name: a}]",
            &["ports[1].containerPort: Required", "ports[1].name: Duplicate"],
        ),
        (
            "ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 8080}]",
            &["ports[1].hostPort: Duplicate"],
        ),
        ("ports: [{containerPort: 80, name: a-very-long-name}]", &["ports[0].name: Invalid value"]),
        ("env: [{name: 'a=b', value: c}, {name: ''}]", &["env[0].name: Invalid", "env[1].name: Required"]),
        (
            "env: [{name: a, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            &["env[0].valueFrom: Invalid"],
        ),
        ("env: [{name: a, valueFrom: {fieldRef: {fieldPath: spec.frob}}}]", &["fieldPath: Unsupported value"]),
        ("envFrom: [{}]", &["envFrom[0]: Invalid value"]),
        ("volumeMounts: [{name: v, mountPath: /a}]", &["volumeMounts[0].name: Not found: \"v\""]),
        (
            "livenessProbe: {httpGet: {port: 0}, tcpSocket: {port: 1}}",
            &["livenessProbe: Forbidden", "httpGet.port: Invalid"],
        ),
        (
            "livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
            &["successThreshold: Invalid value: 2: must be 1"],
        ),
        ("readinessProbe: {periodSeconds: -1}", &["readinessProbe: Required", "periodSeconds: Invalid"]),
        ("lifecycle: {preStop: {sleep: {seconds: 31}}}", &["preStop.sleep.seconds: Invalid value: 31"]),
        ("lifecycle: {preStop: {sleep: {seconds: 30}}}", &[]),
        ("imagePullPolicy: Sometimes", &["imagePullPolicy: Unsupported value"]),
        ("restartPolicy: Always", &["containers[0].restartPolicy: Forbidden"]),
    ] {
        check(&container(fields), expected);
    }
}

#[test]
fn pods() {
    for (spec, expected) in [
        ("volumes: [{name: v}, {name: v}, {name: B}]", &["volumes[1].name: Duplicate", "volumes[2].name: Invalid"][..]),
        ("volumes: [{name: v, configMap: {name: a}, secret: {secretName: b}}]", &["volumes[0].secret: Forbidden"]),
        (
            "volumes: [{name: v, persistentVolumeClaim: {claimName: a}}]",
            &["volumes[0].persistentVolumeClaim: Forbidden"],
        ),
        ("volumes: [{name: v, configMap: {name: a, items: [{key: k, path: ../x}]}}]", &["items[0].path: Invalid"]),
        ("initContainers: [{name: c, image: i}]", &["initContainers[0].name: Duplicate"]),
        (
            "initContainers: [{name: d, image: i, readinessProbe: {tcpSocket: {port: 1}}}]",
            &["readinessProbe: Forbidden"],
        ),
        ("restartPolicy: Perhaps, dnsPolicy: None", &["restartPolicy: Unsupported", "dnsConfig.nameservers: Required"]),
        ("terminationGracePeriodSeconds: -1", &["terminationGracePeriodSeconds: Invalid"]),
        ("nodeSelector: {'a b': '-'}", &["nodeSelector: Invalid value: \"a b\"", "nodeSelector: Invalid value: \"-\""]),
        ("tolerations: [{key: a, operator: Exists, value: b}]", &["tolerations[0].value: Invalid"]),
        (
            "tolerations: [{operator: Exists, effect: NoSchedule, tolerationSeconds: 1}]",
            &["tolerations[0].effect: Invalid"],
        ),
        ("schedulingGates: [{name: a}]", &["spec.schedulingGates: Forbidden"]),
        (
            "topologySpreadConstraints: [{maxSkew: 0, topologyKey: '', whenUnsatisfiable: DoNotSchedule}]",
            &["maxSkew", "topologyKey: Required", "whenUnsatisfiable: Forbidden"],
        ),
        ("topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]", &[]),
        (
            "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}}",
            &["values: Required"],
        ),
        ("hostAliases: [{ip: x, hostnames: [A_]}]", &["hostAliases[0].ip", "hostAliases[0].hostnames"]),
    ] {
        check(&pod(spec), expected);
    }
}

#[test]
fn pods_that_change() {
    let old = pod("terminationGracePeriodSeconds: 5");
    let forbidden = &["spec: Forbidden: pod updates may not change fields other than"][..];
    change(&old, &old.replace("image: i", "image: 'j:2'"), &["spec: Forbidden"]);
    change(&old, &old.replace("image: i", "image: j"), &[]);
    change(&old, &old.replace(": 5", ": 6"), forbidden);
    change(&old, &pod("terminationGracePeriodSeconds: 5, nodeName: one"), forbidden);
    change(&old, &pod("terminationGracePeriodSeconds: 5, activeDeadlineSeconds: 5"), &[]);
    change(&old, &pod("terminationGracePeriodSeconds: 5, tolerations: [{key: a, operator: Exists}]"), &[]);
}

#[test]
fn workloads() {
    let deployment = |spec: &str, template: &str| {
        format!(
            "Deployment spec: {{selector: {{matchLabels: {{a: b}}}}, {spec} template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: i}}], {template}}}}}}}"
        )
    };
    let spec = |text: &str| deployment(text, "");
    check(&spec(""), &[]);
    check(&spec("replicas: -1,"), &["spec.replicas: Invalid value: -1"]);
    check(&spec("minReadySeconds: 5, progressDeadlineSeconds: 5,"), &["progressDeadlineSeconds: Invalid"]);
    check(&spec("strategy: {type: Recreate, rollingUpdate: {}},"), &["rollingUpdate: Forbidden"]);
    check(&spec("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}},"), &["maxUnavailable: Invalid value: 0"]);
    check(&spec("strategy: {rollingUpdate: {maxUnavailable: 101%}},"), &["must not be greater than 100%"]);
    check(&spec("strategy: {rollingUpdate: {maxSurge: x}},"), &["maxSurge: Invalid value: \"x\""]);
    check(&deployment("", "restartPolicy: Never"), &["template.spec.restartPolicy: Unsupported"]);
    check(&deployment("", "activeDeadlineSeconds: 5"), &["template.spec.activeDeadlineSeconds: Forbidden"]);
    check(
        "Deployment spec: {selector: {}, template: {spec: {containers: [{name: c, image: i}]}}}",
        &["spec.selector: Invalid value"],
    );
    check(
        "ReplicaSet spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c}]}}}",
        &["template.metadata.labels: Invalid", "containers[0].image: Required"],
    );
    let other = spec("").replace("a: b", "a: c");
    change(&spec(""), &other, &["spec.selector: Invalid value"]);
    change(&spec(""), &spec("replicas: 3,"), &[]);
}

#[test]
fn configuration() {
    check("ConfigMap data: {'a/b': c, ..: d}", &["data[a/b]", "data[..]: Invalid value: \"..\": must not be '..'"]);
    check("ConfigMap data: {a: b}, binaryData: {a: YQ==}", &["duplicate of key present in binaryData"]);
    for (kind, data, expected) in [
        ("kubernetes.io/tls", "", &["data[tls.crt]: Required", "data[tls.key]: Required"][..]),
        ("kubernetes.io/ssh-auth", "", &["data[ssh-privatekey]: Required"]),
        ("kubernetes.io/basic-auth", "", &["data[password]: Required"]),
        ("kubernetes.io/basic-auth", "username: a", &[]),
        ("kubernetes.io/dockerconfigjson", ".dockerconfigjson: '{'", &["data[.dockerconfigjson]: Invalid"]),
        ("kubernetes.io/dockerconfigjson", ".dockerconfigjson: '{}'", &[]),
        (
            "kubernetes.io/service-account-token",
            "",
            &["metadata.annotations[kubernetes.io/service-account.name]: Required"],
        ),
        ("example.com/any", "", &[]),
    ] {
        check(&format!("Secret type: {kind}, stringData: {{{data}}}"), expected);
    }
    change(
        "Secret stringData: {a: b}, immutable: true",
        "Secret stringData: {a: c}, immutable: true",
        &["data: Forbidden"],
    );
    change("ConfigMap data: {a: b}, immutable: true", "ConfigMap data: {a: b}", &["immutable: Forbidden"]);
}

#[test]
fn network() {
    let backend = "backend: {service: {name: s, port: {number: 80}}}";
    let rule = |path: &str| format!("Ingress spec: {{rules: [{{host: a.b, http: {{paths: [{{{path}}}]}}}}]}}");
    check(&rule(&format!("path: /a, pathType: Prefix, {backend}")), &[]);
    check(
        &rule(&format!("path: a, pathType: Exact, {backend}")),
        &["path: Invalid value: \"a\": must be an absolute path"],
    );
    check(&rule(&format!("path: /a, {backend}")), &["pathType: Required value: pathType must be specified"]);
    check(&rule("path: /a, pathType: Prefix, backend: {service: {name: s}}"), &["service.port: Required"]);
    check(&rule("path: /a, pathType: Prefix, backend: {}"), &["backend: Required"]);
    check(
        "Ingress spec: {rules: [{host: 1.2.3.4}, {host: 'a.*.b'}], tls: [{secretName: A}]}",
        &["rules[0].host", "rules[1].host", "tls[0].secretName"],
    );
    check(
        "Ingress metadata: {name: a, namespace: b, annotations: {kubernetes.io/ingress.class: x}}, spec: {ingressClassName: other, defaultBackend: {service: {name: s, port: {name: http}}}}",
        &["can not be set when the class field is also set"],
    );
    check("IngressClass metadata: {name: a}, spec: {controller: a}", &["spec.controller: Invalid"]);
    check("Endpoints subsets: [{}]", &["subsets[0]: Required value"]);
    check(
        "Endpoints subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{port: 1}, {port: 2}]}]",
        &["ip: Invalid", "ports[0].name: Required", "ports[1].name: Required"],
    );
    check(
        "EndpointSlice addressType: IPv4, endpoints: [{addresses: []}], ports: [{port: 0, name: a}, {name: a}]",
        &["addresses: Required", "ports[0].port", "ports[1].name: Duplicate"],
    );
    check("EndpointSlice addressType: IPv5, endpoints: []", &["addressType: Unsupported"]);
}

#[test]
fn certificates() {
    // "-----BEGIN CERTIFICATE REQUEST-----", as far as is looked at here.
    let request = "request: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=";
    let named = |spec: &str| format!("CertificateSigningRequest metadata: {{name: a}}, spec: {{{spec}}}");
    let good = named(&format!("{request}, usages: [client auth], signerName: a.b/c"));
    check(&good, &[]);
    check(
        &named("request: eA==, usages: [], signerName: '', expirationSeconds: 599"),
        &["spec.request: Invalid", "spec.usages: Required", "spec.signerName: Required", "spec.expirationSeconds"],
    );
    change(&good, &named(&format!("{request}, usages: [server auth], signerName: a.b/c")), &["spec: Invalid"]);
}

#[test]
fn disruption_budgets() {
    check("PodDisruptionBudget spec: {minAvailable: 50%, selector: {matchLabels: {a: b}}}", &[]);
    check("PodDisruptionBudget spec: {minAvailable: 1, maxUnavailable: 1}", &["spec: Invalid value"]);
    check(
        "PodDisruptionBudget spec: {minAvailable: 101%, selector: {matchLabels: {'a b': c}}, unhealthyPodEvictionPolicy: x}",
        &["spec.minAvailable: Invalid", "spec.selector: Invalid", "spec.unhealthyPodEvictionPolicy: Unsupported"],
    );
    check("PodDisruptionBudget spec: {maxUnavailable: -1}", &["spec.maxUnavailable: Invalid"]);
}

#[test]
fn cluster() {
    check("Namespace metadata: {name: a.b}", &["metadata.name: Invalid"]);
    check("Namespace metadata: {name: a}, spec: {finalizers: [frob]}", &["spec.finalizers[0]: Invalid"]);
    check("Node metadata: {name: a, labels: {'a b': c}}", &["metadata.labels: Invalid value: \"a b\""]);
    check(
        "Node metadata: {name: a}, spec: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}, {key: b, effect: Never}]}",
        &["taints[1]: Duplicate", "taints[2].effect: Unsupported"],
    );
    change(
        "Node metadata: {name: a}, spec: {providerID: one}",
        "Node metadata: {name: a}, spec: {providerID: other}",
        &["providerID: Forbidden"],
    );
    check(
        "Lease spec: {leaseDurationSeconds: 0, leaseTransitions: -1, holderIdentity: ''}",
        &["leaseDurationSeconds", "leaseTransitions", "holderIdentity"],
    );
    check("Event involvedObject: {namespace: c}", &["involvedObject.namespace: Invalid"]);
    check(
        "RuntimeClass metadata: {name: a}, handler: A, overhead: {podFixed: {cpu: x}}",
        &["handler: Invalid", "podFixed[cpu]: Invalid"],
    );
    change(
        "RuntimeClass metadata: {name: a}, handler: a",
        "RuntimeClass metadata: {name: a}, handler: b",
        &["handler: Invalid"],
    );
    check(
        "ServiceAccount metadata: {name: a, namespace: b, finalizers: [x], ownerReferences: [{name: a, kind: B, apiVersion: v1, uid: ''}]}",
        &["finalizers[0]", "ownerReferences[0].uid"],
    );
    check("ConfigMap metadata: {namespace: b}", &["metadata.name: Required value: name or generateName is required"]);
}
