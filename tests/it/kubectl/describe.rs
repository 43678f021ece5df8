//! `describe`, in kubectl's own form.

use crate::verbs::Stage;

const THINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {key: a-value}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {password: not-to-be-shown}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: init, image: 'batch:v1', args: [echo, hi]}]
      containers:
        - name: web
          image: hello-http:v1
          ports: [{containerPort: 8080}]
          env: [{name: FROM, valueFrom: {configMapKeyRef: {name: map, key: key}}}]
          readinessProbe: {httpGet: {path: /, port: 8080}}
          resources: {limits: {memory: 64Mi}, requests: {cpu: 10m}}
          volumeMounts: [{name: v, mountPath: /v}]
      volumes: [{name: v, secret: {secretName: hidden}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: wherry
  rules:
    - host: described.localhost
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

pub fn scene(stage: &Stage<'_>) {
    stage.apply(THINGS);
    stage.script(&[
        ("rollout status deployment/web --timeout 60s", &["rolled out"]),
        ("~ get endpoints web", &[":8080"]),
        (
            "~ describe pods -l app=web",
            &[
                "Status:           Running",
                "Controlled By:  ReplicaSet/web-",
                "      Exit Code:    0",
                "    Port:           8080/TCP",
                "      memory:  64Mi",
                "    Readiness:  http-get http://:8080/ delay=0s timeout=1s period=10s #success=1 #failure=3",
                "      FROM:  <set to the key 'key' of config map 'map'>",
                "  ContainersReady             True",
                "    SecretName:  hidden",
                "QoS Class:       Burstable",
                "image \"hello-http:v1\"",
                "Created container: web",
                "Started container web",
            ],
        ),
        (
            "describe deployment web",
            &[
                "1 desired | 1 updated | 1 total | 1 available | 0 unavailable",
                "Scaled up replica set web-",
                "MinimumReplicasAvailable",
            ],
        ),
        ("describe replicaset", &["Controlled By:  Deployment/web", "1 current / 1 desired", "Created pod: web-"]),
        ("describe service web", &["Selector:                 app=web", "TargetPort:               8080/TCP", ":8080"]),
        ("describe ingress web", &["Ingress Class:    wherry", "described.localhost", "web:80 (10.128."]),
        ("describe endpoints web", &["Addresses:          10.128."]),
        (
            "describe endpointslice -l kubernetes.io/service-name=web",
            &["AddressType:  IPv4", "Ready:", "TargetRef:  Pod/web-"],
        ),
        ("describe configmap map", &["key:\n----\na-value"]),
        ("describe secret hidden", &["password:  15 bytes", "not: not-to-be-shown"]),
        ("describe serviceaccount default", &["Name:                default"]),
        ("describe namespace described", &["Status:       Active"]),
        ("describe node wherry", &["KubeletReady", "Container Runtime Version:  wasm://"]),
        ("describe lease wherry -n kube-node-lease", &["Holder Identity:         wherry"]),
        ("describe ingressclass wherry", &["Controller:   wherry.dev/ingress"]),
        ("describe runtimeclass wasm", &["Handler:      wasm"]),
    ]);
}
