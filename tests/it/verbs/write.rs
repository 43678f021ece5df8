//! `create`, `run`, `expose`, `set`, `rollout`, `scale`, `delete`, the node's own verbs, and what the server says of itself.

use wherry_base::Clock;

use super::Stage;

pub fn create(stage: &Stage<'_>) {
    stage.write("file.txt", "of a file");
    let issued = wherry_pki::self_signed("test", &["a.localhost".to_owned()], wherry_base::SystemClock.now()).unwrap();
    stage.write("tls.crt", &issued.certificate);
    stage.write("tls.key", &issued.key);
    stage.script(&[
        ("create configmap m --from-literal a=1 --from-file {dir}/file.txt", &["configmap/m created"]),
        ("get configmap m -o jsonpath={.data.a}/{.data.file\\.txt}", &["1/of a file"]),
        ("create secret generic s --from-literal password=secret", &["secret/s created"]),
        ("get secret s -o jsonpath={.type}:{.data.password}", &["Opaque:c2VjcmV0"]),
        ("create secret tls t --cert {dir}/tls.crt --key {dir}/tls.key", &["secret/t created"]),
        ("get secrets", &["kubernetes.io/tls   2 ", "Opaque              1 "]),
        ("create serviceaccount robot", &["serviceaccount/robot created"]),
        ("create deployment web --image hello-http:v1 --port 8080 --replicas 2", &["deployment.apps/web created"]),
        ("create service clusterip plain --tcp 80:8080", &["service/plain created"]),
        ("create service clusterip headless --clusterip None --tcp 80", &["service/headless created"]),
        ("create service nodeport open --tcp 80:8080", &["service/open created"]),
        ("create service externalname away --external-name example.org", &["service/away created"]),
        (
            "create ingress in --rule 'a.localhost/x*=plain:80' --rule b.localhost/=open:80",
            &["ingress.networking.k8s.io/in created"],
        ),
        ("get service", &["plain", "ClusterIP", "headless", "None", "NodePort", "80:3", "ExternalName", "example.org"]),
        ("get ingress", &["a.localhost,b.localhost", "80"]),
        ("get ingress in -o jsonpath={.spec.rules[*].http.paths[*].pathType}", &["Prefix Exact"]),
        ("create configmap dry --from-literal a=1 --dry-run=client -o yaml", &["kind: ConfigMap", "a: \"1\""]),
        ("kubectl: create configmap dry --from-literal a=1 --dry-run=server", &["created (server dry run)"]),
        ("! get configmap dry", &["not found"]),
        ("run one --image hello-http:v1 --port 8080 --labels app=one --env A=b", &["pod/one created"]),
        ("expose pod one --port 80 --target-port 8080 --name one", &["service/one exposed"]),
        ("expose deployment web --port 80 --target-port 8080 --type NodePort", &["service/web exposed"]),
        ("wait --for=condition=Ready pod/one --timeout 60s", &["pod/one condition met"]),
        ("~ get endpoints one web", &["one    10.128.", ":8080", "web    10.128."]),
        ("get all", &["pod/one", "service/web", "deployment.apps/web   2/2", "replicaset.apps/web-"]),
        ("run job --image batch:v1 --restart Never -- echo done", &["pod/job created"]),
        ("wait --for=jsonpath={.status.phase}=Succeeded pod/job --timeout 60s", &["pod/job condition met"]),
        ("get pod job", &["0/1", "Completed"]),
        ("kubectl: auth can-i create pods", &["yes"]),
        ("kubectl: auth whoami", &["system:masters"]),
    ]);
}

pub fn rollout(stage: &Stage<'_>) {
    stage.script(&[
        ("create deployment web --image hello-http:v1 --port 8080 --replicas 2", &["created"]),
        ("rollout status deployment/web --timeout 60s", &["deployment \"web\" successfully rolled out"]),
        ("annotate deployment web kubernetes.io/change-cause=first", &["annotated"]),
        ("scale deployment web --replicas 3", &["deployment.apps/web scaled"]),
        ("! scale deployment web --replicas 4 --current-replicas 7", &["Expected replicas to be 7, was 3"]),
        ("set env deployment/web COLOUR=red", &["deployment.apps/web env updated"]),
        ("set env deployment/web --list", &["# Deployment web, container hello-http\nCOLOUR=red"]),
        ("rollout status deployment/web --timeout 60s", &["successfully rolled out"]),
        ("set image deployment/web hello-http=hello3:v1", &["deployment.apps/web image updated"]),
        ("! set image deployment/web none=hello3:v1", &["unable to find container named \"none\""]),
        ("rollout status deployment/web --timeout 60s", &["successfully rolled out"]),
        ("get deployment web -o wide", &["3/3", "hello3:v1", "app=web"]),
        ("rollout history deployment/web", &["REVISION", "first", "3"]),
        ("kubectl: rollout history deployment/web --revision 3", &["Image:\thello3:v1"]),
        ("wherry: rollout history deployment/web --revision 3", &["with revision #3", "hello3:v1"]),
        ("rollout undo deployment/web", &["deployment.apps/web rolled back"]),
        ("rollout status deployment/web --timeout 60s", &["successfully rolled out"]),
        ("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", &["hello-http:v1"]),
        ("rollout undo deployment/web --to-revision 1", &["rolled back"]),
        ("! rollout undo deployment/web --to-revision 99", &["unable to find specified revision 99 in history"]),
        ("rollout status deployment/web --timeout 60s", &["successfully rolled out"]),
        ("set resources deployment/web --limits memory=64Mi --requests cpu=10m", &["resource requirements updated"]),
        ("rollout pause deployment/web", &["deployment.apps/web paused"]),
        ("! rollout pause deployment/web", &["deployments.apps \"web\" is already paused"]),
        ("! rollout undo deployment/web", &["you cannot rollback a paused deployment; resume it first with"]),
        ("! rollout restart deployment/web", &["can't restart paused deployment (run rollout resume first)"]),
        ("set env deployment/web COLOUR=blue", &["env updated"]),
        ("get deploy web -o jsonpath={.spec.paused}", &["true"]),
        ("rollout resume deployment/web", &["deployment.apps/web resumed"]),
        ("rollout restart deployment/web", &["deployment.apps/web restarted"]),
        ("rollout status deployment/web --timeout 60s", &["successfully rolled out"]),
        ("rollout status deployment/web --watch=false", &["deployment \"web\" successfully rolled out"]),
        ("wait --for=condition=available deployment/web --timeout 60s", &["deployment.apps/web condition met"]),
        ("get replicasets", &["DESIRED", "CURRENT", "READY"]),
        (
            "kubectl: describe deployment web",
            &[
                "3 desired | 3 updated | 3 total | 3 available",
                "COLOUR:      blue",
                "NewReplicaSet:",
                "ScalingReplicaSet",
            ],
        ),
    ]);
}

pub fn delete(stage: &Stage<'_>) {
    stage.write(
        "two.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: f1}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: f2}\n",
    );
    stage.script(&[
        ("apply -f {dir}/two.yaml", &["f1 created", "f2 created"]),
        ("delete -f {dir}/two.yaml", &["configmap \"f1\" deleted", "configmap \"f2\" deleted"]),
        ("! delete -f {dir}/two.yaml", &["(NotFound)"]),
        ("delete -f {dir}/two.yaml --ignore-not-found", &[]),
        ("create configmap a", &["created"]),
        ("create configmap b", &["created"]),
        ("label configmap a x=y", &["labeled"]),
        ("delete configmap -l x=y", &["configmap \"a\" deleted"]),
        ("get configmaps -o name", &["not: configmap/a", "configmap/b"]),
        ("delete configmap --all", &["configmap \"b\" deleted"]),
        // A program that does not listen to its end: only force is quick.
        ("run stubborn --image batch:v1 -- sleep 100000000", &["created"]),
        ("wait --for=condition=Ready pod/stubborn --timeout 60s", &["met"]),
        ("delete pod stubborn --force --grace-period=0", &["pod \"stubborn\" force deleted"]),
        ("! get pod stubborn", &["not found"]),
        ("run slow --image batch:v1 -- sleep 100000000", &["created"]),
        ("wait --for=condition=Ready pod/slow --timeout 60s", &["met"]),
        ("delete pod slow --wait=false", &["pod \"slow\" deleted"]),
        ("get pod slow", &["1/1", "Terminating"]),
        ("delete pod slow --grace-period=1", &["pod \"slow\" deleted"]),
        ("create deployment web --image hello-http:v1 --replicas 1", &["created"]),
        ("rollout status deployment/web --timeout 60s", &["rolled out"]),
        ("delete deployment web --cascade=orphan", &["deployment.apps \"web\" deleted"]),
        ("get rs,pods", &["replicaset.apps/web-", "pod/web-", "Running"]),
        ("delete rs --all --cascade=foreground", &["deleted"]),
        ("~ get pods", &["No resources found in deleted namespace."]),
        ("create deployment web --image hello-http:v1 --replicas 2", &["created"]),
        ("rollout status deployment/web --timeout 60s", &["rolled out"]),
        ("delete deployment web", &["deleted"]),
        ("~ get all", &["No resources found"]),
        ("create namespace doomed", &["created"]),
        ("run inside -n doomed --image hello-http:v1", &["created"]),
        ("delete namespace doomed --timeout 60s", &["namespace \"doomed\" deleted"]),
        ("! get namespace doomed", &["not found"]),
    ]);
}

pub fn node(stage: &Stage<'_>) {
    stage.script(&[
        ("get nodes -o wide", &["wherry", "Ready", "127.0.0.1", "wasm://"]),
        ("cordon wherry", &["node/wherry cordoned"]),
        ("cordon wherry", &["node/wherry already cordoned"]),
        ("get node wherry", &["Ready,SchedulingDisabled"]),
        ("run waits --image hello-http:v1", &["created"]),
        ("~ get pod waits -o wide", &["Pending", "<none>"]),
        ("~ events --for pod/waits", &["FailedScheduling", "0/1 nodes are available: 1 node(s) were unschedulable"]),
        ("uncordon wherry", &["node/wherry uncordoned"]),
        ("wait --for=condition=Ready pod/waits --timeout 60s", &["met"]),
        ("taint node wherry a=b:NoSchedule", &["node/wherry tainted"]),
        ("run tainted --image hello-http:v1", &["created"]),
        ("~ events --for pod/tainted", &["had untolerated taint {a: b}"]),
        ("! taint node wherry a=c:NoSchedule", &["already has", "--overwrite is false"]),
        ("taint node wherry a=c:NoSchedule --overwrite", &["node/wherry modified"]),
        ("taint node wherry a-", &["node/wherry untainted"]),
        ("! taint node wherry a-", &["taint \"a\" not found"]),
        ("wait --for=condition=Ready pod/tainted --timeout 60s", &["met"]),
        ("kubectl: describe node wherry", &["Capacity:", "Non-terminated Pods:", "KubeletReady", "Allocated resources:"]),
        ("label node wherry disk=ssd", &["labeled"]),
        ("get nodes -l disk=ssd -o name", &["node/wherry"]),
        ("label node wherry disk-", &["unlabeled"]),
        ("api-resources", &["deployments", "deploy", "apps/v1", "true", "Deployment"]),
        ("api-resources --namespaced=false -o name", &["nodes", "runtimeclasses.node.k8s.io", "not: pods"]),
        ("kubectl: api-versions", &["apps/v1", "networking.k8s.io/v1"]),
        (
            "explain pod.spec.containers",
            &[
                "KIND:       Pod\nVERSION:    v1\n\nFIELD: containers <[]Container>\n\n\nDESCRIPTION:\n    List of containers",
                "\nFIELDS:\n  args\t<[]string>\n    Arguments to the entrypoint.",
                "  name\t<string> -required-\n",
            ],
        ),
        (
            "explain ingress.spec.rules --recursive",
            &[
                "GROUP:      networking.k8s.io\nKIND:       Ingress\n",
                "FIELDS:\n  host\t<string>\n  http\t<HTTPIngressRuleValue>\n    paths\t<[]HTTPIngressPath> -required-\n",
                "      pathType\t<string> -required-\n",
            ],
        ),
        ("! explain pod.spec.none", &["field \"none\" does not exist"]),
        ("cluster-info", &["Kubernetes control plane is running at https://127.0.0.1:"]),
        ("kubectl: version", &["Server Version: v1.3"]),
        ("kubectl: get --raw /readyz", &["ok"]),
    ]);
}
