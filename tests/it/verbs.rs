//! The project's own verbs, for where kubectl is not installed: they run always, against the real binary.

use std::path::PathBuf;

use wherry_tests::{Cluster, Following, Line, Printed, play, script};

use crate::WHERRY;

/// A scene's namespace and directory.
struct Stage<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    directory: PathBuf,
}

impl<'a> Stage<'a> {
    fn new(cluster: &'a Cluster, namespace: &'a str) -> Self {
        let directory = cluster.data().join("scenes").join(namespace);
        std::fs::create_dir_all(&directory).unwrap();
        let space = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        std::fs::write(directory.join("namespace.yaml"), space).unwrap();
        let stage = Self { cluster, namespace, directory };
        stage.script(&[("apply -f {dir}/namespace.yaml", &["created"])]);
        stage
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
    }

    fn script(&self, lines: &[Line]) {
        let run = |words: &[&str]| Ok(Printed::from(self.cluster.wherry(&self.words(words))?));
        script(&run, &self.directory, lines);
    }

    fn follow(&self, words: &[&str]) -> Following {
        Following::start(self.cluster.command(&self.words(words))).unwrap()
    }

    fn words<'b>(&'b self, words: &[&'b str]) -> Vec<&'b str> {
        words.iter().copied().chain(["-n", self.namespace]).collect()
    }
}

#[test]
fn the_verbs_do_what_they_say() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["hello-http", "hello3", "batch", "log-shipper"] {
        cluster.load_guest(guest).unwrap();
    }
    play(&[
        ("apply, get, describe", &|| look(&Stage::new(&cluster, "look"))),
        ("changes are watched", &|| watch(&Stage::new(&cluster, "watch"))),
        ("rollout and scale", &|| rollout(&Stage::new(&cluster, "rollout"))),
        ("logs", &|| logs(&Stage::new(&cluster, "logs"))),
        ("delete and wait", &|| delete(&Stage::new(&cluster, "delete"))),
        ("label, annotate, patch", &|| change(&Stage::new(&cluster, "change"))),
        ("every kind is described", &|| cluster_wide(&Stage::new(&cluster, "wide"))),
    ]);
}

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

fn look(stage: &Stage<'_>) {
    stage.write("app.yaml", APP);
    stage.write("wrong.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Wrong Name}\n");
    stage.script(&[
        (
            "apply -f {dir}/app.yaml",
            &["configmap/map created", "deployment.apps/web created", "ingress.networking.k8s.io/web created"],
        ),
        ("rollout status deploy/web --timeout 60s", &["deployment \"web\" successfully rolled out"]),
        ("apply -f {dir}/app.yaml", &["configmap/map unchanged", "deployment.apps/web unchanged"]),
        ("! apply -f {dir}/wrong.yaml", &["error: cannot apply configmap/Wrong Name", "metadata.name"]),
        ("get pods", &["NAME ", "READY   STATUS    RESTARTS   AGE\nweb-", "1/1     Running   0          "]),
        ("get pods -o wide", &["IP ", "10.128.", "wherry"]),
        ("get pods --no-headers", &["not: READY"]),
        ("get pods --show-labels -l app=web", &["LABELS", "app=web,pod-template-hash="]),
        ("get pods -A -l app=web", &["NAMESPACE   NAME", "look        web-"]),
        ("get deploy web -o jsonpath={.spec.replicas}", &["2"]),
        ("get deploy -o jsonpath={.items[*].metadata.name}", &["web"]),
        ("get pods -o 'jsonpath={range .items[*]}{.status.phase}{\"\\n\"}{end}'", &["Running\nRunning\n"]),
        ("get po -o custom-columns=PHASE:.status.phase,NODE:.spec.nodeName", &["PHASE     NODE\nRunning   wherry\n"]),
        ("get cm --sort-by .metadata.name -o name", &["configmap/map\n"]),
        ("get pods --field-selector status.phase=Failed", &["No resources found in look namespace."]),
        ("get deploy/web svc/web -o name", &["deployment.apps/web\nservice/web\n"]),
        ("get deploy,svc", &["deployment.apps/web   2/2", "service/web   ClusterIP"]),
        ("get all", &["pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"]),
        ("get cm map -o yaml", &["kind: ConfigMap", "key: a-value"]),
        ("get cm map -o json", &["\"key\": \"a-value\""]),
        ("! get pod none", &["pods \"none\" not found"]),
        ("get pod none --ignore-not-found", &[]),
        ("! get frobs", &["the server has no resource \"frobs\"; it has", "pods"]),
        ("! get pods -o frob", &["jsonpath={.metadata.name}"]),
        ("! get pods -o jsonpath={.a", &["no '}' closes"]),
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
    ]);
}

fn cluster_wide(stage: &Stage<'_>) {
    stage.script(&[
        ("get nodes -o wide", &["wherry", "Ready"]),
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

fn watch(stage: &Stage<'_>) {
    let pods = stage.follow(&["get", "pods", "-w"]);
    let phases = stage.follow(&["get", "pods", "-w", "-o", "jsonpath={.status.phase}"]);
    let events = stage.follow(&["events", "-w"]);
    stage.write("pod.yaml", &pod("job", "batch", "[echo, hi]"));
    stage.script(&[("apply -f {dir}/pod.yaml", &["pod/job created"])]);
    pods.until("job").unwrap();
    pods.until("Completed").unwrap();
    phases.until("Succeeded").unwrap();
    events.until("Started container c").unwrap();
    stage.script(&[("! get pods,svc -w", &["one resource can be watched at a time"])]);
}

fn pod(name: &str, image: &str, arguments: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: pods}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{{name: c, image: '{image}:v1', args: {arguments}}}]
"
    )
}

fn rollout(stage: &Stage<'_>) {
    stage.write("one.yaml", APP);
    stage.write("two.yaml", &APP.replace("hello-http:v1", "hello3:v1"));
    stage.script(&[
        ("apply -f {dir}/one.yaml", &["deployment.apps/web created"]),
        ("annotate deploy web kubernetes.io/change-cause=first", &["deployment.apps/web annotated"]),
        ("rollout status deploy web --timeout 60s", &["successfully rolled out"]),
        ("scale deploy/web --replicas 3", &["deployment.apps/web scaled"]),
        ("apply -f {dir}/two.yaml", &["deployment.apps/web configured"]),
        ("rollout status deploy/web --timeout 60s", &["successfully rolled out"]),
        ("get deploy web -o jsonpath={.spec.template.spec.containers[0].image}", &["hello3:v1"]),
        ("rollout history deploy/web", &["REVISION   CHANGE-CAUSE\n1          ", "\n2          "]),
        ("rollout history deploy/web --revision 1", &["with revision #1", "hello-http:v1"]),
        ("! rollout history deploy/web --revision 9", &["has no revision 9; it has 1, 2"]),
        ("rollout undo deploy/web", &["rolled back to revision 1"]),
        ("rollout status deploy/web --timeout 60s", &["successfully rolled out"]),
        ("get deploy web -o jsonpath={.spec.template.spec.containers[0].image}", &["hello-http:v1"]),
        ("rollout undo deploy/web --to-revision 2", &["rolled back to revision 2"]),
        ("rollout pause deploy/web", &["deployment.apps/web paused"]),
        ("! rollout undo deploy/web", &["is paused; resume it first"]),
        ("! rollout pause deploy/web", &["paused already"]),
        ("rollout resume deploy/web", &["deployment.apps/web resumed"]),
        ("rollout restart deploy/web", &["deployment.apps/web restarted"]),
        ("rollout status deploy/web --timeout 60s", &["successfully rolled out"]),
        ("wait --for condition=Available deploy/web --timeout 60s", &["deployment.apps/web condition met"]),
        ("! rollout status svc/web", &["services have no rollouts; name a deployment"]),
    ]);
}

fn logs(stage: &Stage<'_>) {
    let two = "---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: pods}}
spec:
  restartPolicy: Never
  initContainers: [{name: i, image: 'batch:v1', args: [echo, of-init]}]
  containers:
    - {name: a, image: 'batch:v1', args: [echo, of-a]}
    - {name: b, image: 'batch:v1', args: [echo, of-b]}
";
    let again = pod("again", "batch", "[env, NOTHING]").replace("restartPolicy: Never", "restartPolicy: Always");
    let again = again.replace("app: pods", "app: again");
    let endless = pod("endless", "log-shipper", "[/nowhere]").replace("app: pods", "app: endless");
    stage.write("pods.yaml", &(pod("one", "batch", "[echo, of-one]") + two + &again + &endless));
    stage.script(&[
        ("apply -f {dir}/pods.yaml", &["pod/two created"]),
        (
            "wait --for jsonpath={.status.phase}=Succeeded pods -l app=pods --timeout 60s",
            &["pod/one condition met", "pod/two condition met"],
        ),
        ("logs one", &["of-one\n"]),
        ("logs two", &["of-a\n", "not: of-b", "Defaulted container \"a\" out of: a, b, i"]),
        ("logs pod/two -c b --timestamps", &["Z of-b\n"]),
        ("logs two --all-containers --prefix", &["[pod/two/i] of-init\n[pod/two/a] of-a\n[pod/two/b] of-b\n"]),
        ("logs -l app=pods --all-containers", &["of-one\n", "of-init\n", "of-b\n"]),
        ("logs one --tail 0", &["not: of-one"]),
        ("logs one --since 1h", &["of-one"]),
        ("logs one --since-time 2100-01-01T00:00:00Z", &["not: of-one"]),
        ("! logs one --since soon", &["is no duration"]),
        ("! logs two -c none", &["pod two has no container none; it has a, b, i"]),
        ("! logs none", &["pods \"none\" not found"]),
        ("! logs one --previous", &["previous terminated container \"c\" in pod \"one\" not found"]),
        ("~ logs again --previous", &["NOTHING"]),
        ("wait --for condition=Ready pod/endless --timeout 60s", &["met"]),
    ]);
    let mut following = stage.follow(&["logs", "-f", "endless"]);
    following.until("shipping /nowhere").unwrap();
    stage.script(&[("delete pod endless", &["deleted"])]);
    assert!(following.ended().unwrap(), "logs -f ends with its container");
}

fn delete(stage: &Stage<'_>) {
    stage.write("pods.yaml", &(pod("a", "log-shipper", "[/x]") + &pod("b", "log-shipper", "[/x]")));
    let stubborn = pod("s", "batch", "[sleep, '100000000']").replace("Seconds: 1", "Seconds: 1000");
    stage.write("stubborn.yaml", &stubborn);
    stage.write("app.yaml", APP);
    stage.script(&[
        ("apply -f {dir}/pods.yaml", &["pod/a created"]),
        ("! delete pods", &["name the pods to delete, or say -l or --all"]),
        ("! delete", &["name objects"]),
        ("delete -f {dir}/pods.yaml", &["pod \"b\" deleted", "pod \"a\" deleted"]),
        // It has waited.
        ("get pods", &["No resources found in delete namespace."]),
        ("! delete pod a", &["cannot delete pod \"a\"", "not found"]),
        ("delete pod a --ignore-not-found", &[]),
        ("apply -f {dir}/stubborn.yaml", &["created"]),
        ("wait --for condition=Ready pod/s --timeout 60s", &["met"]),
        ("delete pod s --wait=false", &["pod \"s\" deleted"]),
        ("get pod s", &["Terminating"]),
        ("! wait --for delete pod/s --timeout 10ms", &["timed out waiting"]),
        ("delete pods -l app=pods --force", &["pod \"s\" force deleted"]),
        ("wait --for delete pod/s", &["met"]),
        ("apply -f {dir}/app.yaml", &["created"]),
        ("rollout status deploy/web --timeout 60s", &["rolled out"]),
        ("delete deploy web --cascade orphan", &["deployment.apps \"web\" deleted"]),
        ("get rs -o name", &["replicaset.apps/web-"]),
        ("delete rs,pods --all --now", &["replicaset.apps \"web-", "pod \"web-"]),
        ("~ get rs,pods", &["No resources found"]),
    ]);
}

fn change(stage: &Stage<'_>) {
    stage.write("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1'}\n");
    stage.script(&[
        ("apply -f {dir}/map.yaml", &["created"]),
        ("label cm m tier=front", &["configmap/m labeled"]),
        ("label cm m tier=front", &["configmap/m not changed"]),
        ("! label cm m tier=back", &["\"tier\" already has the value \"front\"; say --overwrite to change it"]),
        ("label cm/m tier=back --overwrite", &["labeled"]),
        ("get cm -l tier=back -o name", &["configmap/m"]),
        ("label cm -l tier=back tier-", &["configmap/m labeled"]),
        ("annotate cm m note='by hand'", &["configmap/m annotated"]),
        ("get cm m -o jsonpath={.metadata.annotations.note}{.metadata.labels}", &["by hand"]),
        ("patch cm m -p '{data: {b: \"2\"}}'", &["configmap/m patched"]),
        ("patch cm m -p '{data: {b: \"2\"}}'", &["configmap/m patched (no change)"]),
        ("patch cm m --type merge -p '{\"data\":{\"a\":null}}'", &["patched"]),
        ("patch cm m --type json -p '[{\"op\":\"add\",\"path\":\"/data/c\",\"value\":\"3\"}]'", &["patched"]),
        ("get cm m -o jsonpath={.data}", &["{\"b\":\"2\",\"c\":\"3\"}"]),
        ("! patch cm m -p '[a'", &["neither JSON nor YAML"]),
    ]);
}
