//! What only the project's own client prints: its pages, its advice, its images.

use super::Stage;

const APP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: map, labels: {app: web}}
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
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: hello-http:v1
          ports: [{containerPort: 8080}]
          env: [{name: FROM, valueFrom: {configMapKeyRef: {name: map, key: key}}}]
          readinessProbe: {httpGet: {path: /, port: 8080}}
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
  rules:
    - host: verbs.localhost
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

pub fn look(stage: &Stage<'_>) {
    stage.apply(APP);
    stage.script(&[
        ("rollout status deploy/web --timeout 60s", &["deployment \"web\" successfully rolled out"]),
        ("get pods -A -l app=web", &["NAMESPACE   NAME", "look        web-"]),
        ("get deploy/web svc/web -o name", &["deployment.apps/web\nservice/web\n"]),
        ("get deploy,svc", &["deployment.apps/web   2/2", "service/web   ClusterIP"]),
        ("get all", &["pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"]),
        (
            "describe deploy web",
            &["Replicas:", "2 desired | 2 updated | 2 total | 2 available", "hello-http:v1", "ScalingReplicaSet"],
        ),
        (
            "describe pods -l app=web",
            &["Status:", "Running", "ContainersReady:", "FROM from configMapKey map/key", "Started container web"],
        ),
        ("describe rs -l app=web", &["Controlled By:", "Deployment/web"]),
        ("describe svc web", &["Endpoints:", ":8080"]),
        ("describe ing web", &["verbs.localhost:", "/ (Prefix) -> web:80"]),
        ("describe cm map", &["key:\n    a-value"]),
        ("describe secret hidden", &["password:  15 bytes", "not: not-to-be-shown"]),
        ("describe endpointslices -l kubernetes.io/service-name=web", &["Address Type:", "IPv4"]),
        ("events --for deployment/web", &["LAST SEEN", "ScalingReplicaSet"]),
        ("events --types Warning --for deploy/web", &["No events found in look namespace."]),
        ("rollout history deploy/web", &["REVISION   CHANGE-CAUSE\n1          "]),
    ]);
}

pub fn advice(stage: &Stage<'_>) {
    stage.write("wrong.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Wrong Name}\n");
    stage.write("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1'}\n");
    stage.script(&[
        ("! apply -f {dir}/wrong.yaml", &["(Invalid): cannot apply configmap/Wrong Name", "metadata.name"]),
        ("! get frobs", &["it has", "pods"]),
        ("! get pods -o frob", &["jsonpath={.metadata.name}"]),
        ("! get pods -o jsonpath={.a", &["no '}' closes"]),
        ("! get pods,svc -w", &["one resource can be watched at a time"]),
        ("! rollout status svc/web", &["a Service has no rollout; name a deployment"]),
        ("! logs one --since soon", &["is no duration"]),
        ("! delete pods", &["name the pods to delete, or say -l or --all"]),
        ("! delete", &["name objects"]),
        ("delete pod a --ignore-not-found", &[]),
        ("! create", &["a manifest with -f"]),
        ("create -f {dir}/map.yaml", &["configmap/m created"]),
        ("label cm m tier=front", &["configmap/m labeled"]),
        ("label cm m tier=front", &["configmap/m not labeled"]),
        ("! label cm m tier=back", &["'tier' already has a value (front), and --overwrite is false"]),
        ("! label cm tier=back", &["name the objects, or say -l or --all"]),
        ("patch cm m -p '{data: {b: \"2\"}}'", &["configmap/m patched"]),
        ("! patch cm m -p '[a'", &["neither JSON nor YAML"]),
        ("! set image cm/m a=b:1", &["a ConfigMap has no containers"]),
        ("! expose cm m --port 80", &["cannot expose a ConfigMap"]),
        ("! edit cm", &["name the objects to edit"]),
        ("! wait --for condition=Ready cm/m --timeout 10ms", &["timed out waiting"]),
    ]);
    spoiled(stage);
}

/// What the server refuses is not lost.
fn spoiled(stage: &Stage<'_>) {
    for (editor, said) in
        [("false", "the editor \"false\" ended with"), ("sed -i s/data:/date:/", "unknown field \"date\"")]
    {
        let output = stage.command(&["edit", "cm", "m"]).env("KUBE_EDITOR", editor).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && printed.contains(said), "{printed}");
        let kept = printed.lines().find_map(|line| line.strip_prefix("A copy of your changes has been stored to "));
        assert_eq!(kept.is_some(), editor != "false", "{printed}");
        if let Some(path) = kept {
            let path = path.trim_matches('"');
            assert!(std::fs::read_to_string(path).unwrap().contains("date:"));
            std::fs::remove_file(path).unwrap();
        }
    }
}

pub fn cluster_wide(stage: &Stage<'_>) {
    stage.script(&[
        ("describe node wherry", &["Capacity:", "cpu=", "Ready:", "KubeletReady", "Pods ("]),
        ("describe ns wide", &["Name:", "Active"]),
        ("describe sa default", &["Namespace:"]),
        ("describe ingressclass wherry", &["wherry.dev/ingress"]),
        ("describe runtimeclass wasm", &["Handler:"]),
        ("image ls", &["IMAGE", "hello-http:v1", "sha256:"]),
    ]);
    half_read(stage);
}

/// Whoever reads only the first line gets it, and nobody hears of the rest.
fn half_read(stage: &Stage<'_>) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = stage.cluster.command(&["get", "pods", "-A", "-o", "yaml"]);
    let output = command.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
