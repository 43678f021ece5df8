//! `get` in every form, `get -w`, `logs`, `events`.

use super::Stage;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: b-web, labels: {app: web, tier: front}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: 'hello-http:v1', ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: a-job, labels: {app: job}}
spec: {restartPolicy: Never, containers: [{name: job, image: 'batch:v1', args: [echo, hello]}]}
";

pub fn get(stage: &Stage<'_>) {
    stage.apply(PODS);
    stage.script(&[
        ("wait --for=condition=Ready pod/b-web --timeout 60s", &["met"]),
        ("wait --for=jsonpath={.status.phase}=Succeeded pod/a-job --timeout 60s", &["met"]),
        (
            "get pods",
            &[
                "NAME    READY   STATUS      RESTARTS   AGE\na-job   0/1     Completed   0          ",
                "b-web   1/1     Running ",
            ],
        ),
        ("get pods -o wide", &["IP", "NODE", "NOMINATED NODE", "READINESS GATES", "10.128.", "wherry"]),
        ("get pods --show-labels", &["app=web,tier=front"]),
        ("get pods -L tier", &["TIER", "front"]),
        ("get pods --no-headers", &["not: READY", "b-web"]),
        ("get pods -o name", &["pod/a-job\npod/b-web\n"]),
        ("get pod b-web -o json", &["\"kind\": \"Pod\"", "\"phase\": \"Running\""]),
        ("get pod b-web -o yaml", &["kind: Pod", "phase: Running", "qosClass: BestEffort"]),
        ("get pods -o yaml", &["kind: List", "kind: Pod"]),
        ("get pods -o jsonpath={.items[*].metadata.name}", &["a-job b-web"]),
        (
            "get pods -o 'jsonpath={range .items[*]}{.metadata.name}={.status.phase}{\"\\n\"}{end}'",
            &["a-job=Succeeded\nb-web=Running\n"],
        ),
        ("get pods -o 'jsonpath={.items[?(@.metadata.name==\"b-web\")].status.podIP}'", &["10.128."]),
        (
            "get pods -o custom-columns=NAME:.metadata.name,APP:.metadata.labels.app",
            &["NAME    APP\na-job   job\nb-web   web\n"],
        ),
        ("kubectl: get pods -o go-template='{{len .items}}'", &["2"]),
        ("get pods --sort-by=.metadata.labels.tier -o name", &["pod/"]),
        ("get pods --sort-by=.status.phase -o custom-columns=P:.status.phase", &["P\nRunning\nSucceeded\n"]),
        ("get pods -l app=web -o name", &["pod/b-web\n", "not: a-job"]),
        ("get pods -l 'app in (web,job),!tier' -o name", &["pod/a-job", "not: b-web"]),
        ("get pods --field-selector status.phase=Running -o name", &["pod/b-web", "not: a-job"]),
        ("get pods --field-selector spec.nodeName=wherry,metadata.name!=b-web -o name", &["pod/a-job", "not: b-web"]),
        ("get pods -A -l app=web", &["NAMESPACE", "shown"]),
        ("get pods b-web a-job -o name", &["pod/b-web\npod/a-job\n"]),
        ("get pod/b-web serviceaccount/default -o name", &["pod/b-web\nserviceaccount/default\n"]),
        ("get po,sa", &["pod/b-web", "serviceaccount/default"]),
        ("get ingress", &["No resources found in shown namespace."]),
        ("get pod none --ignore-not-found", &[]),
        ("get namespaces shown", &["Active"]),
        ("kubectl: get pods --chunk-size=1 -o name", &["pod/a-job\npod/b-web\n"]),
        (
            "get events --field-selector involvedObject.name=b-web",
            &["LAST SEEN", "Normal", "Started", "pod/b-web", "Started container web"],
        ),
        ("events --for pod/b-web", &["LAST SEEN", "Started container web"]),
        ("events --types=Warning", &["No events found in shown namespace."]),
    ]);
}

pub fn watch(stage: &Stage<'_>) {
    let pods = stage.follow(&["get", "pods", "-w"]);
    let objects = stage.follow(&["get", "pods", "-w", "-o", "jsonpath={.status.phase}{\"\\n\"}"]);
    let events = stage.follow(&["events", "-w"]);
    stage.apply(PODS);
    pods.until("b-web   1/1     Running").unwrap();
    pods.until("a-job   0/1     Completed").unwrap();
    objects.until("Succeeded").unwrap();
    stage.script(&[("delete pod b-web", &["deleted"])]);
    pods.until("Terminating").unwrap();
    events.until("Stopping container web").unwrap();
}

const TALKERS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: text}
data: {lines: \"one\\ntwo\\nthree\\n\"}
---
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talk}}
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: 'batch:v1', args: [echo, before]}]
  containers:
    - {name: lines, image: 'batch:v1', args: [cat, /v/lines], volumeMounts: [{name: v, mountPath: /v}]}
    - {name: other, image: 'batch:v1', args: [echo, of-the-other]}
  volumes: [{name: v, configMap: {name: text}}]
---
apiVersion: v1
kind: Pod
metadata: {name: second, labels: {app: talk}}
spec: {restartPolicy: Never, containers: [{name: c, image: 'batch:v1', args: [echo, of-the-second]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: again}
spec: {containers: [{name: c, image: 'batch:v1', args: [env, NOTHING]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: endless}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: 'log-shipper:v1', args: [/nowhere]}]
---
apiVersion: v1
kind: Pod
metadata: {name: absent}
spec: {containers: [{name: c, image: 'absent:v1', imagePullPolicy: Never}]}
";

pub fn logs(stage: &Stage<'_>) {
    stage.apply(TALKERS);
    stage.script(&[
        ("wait --for=jsonpath={.status.phase}=Succeeded pod/talker pod/second --timeout 60s", &["met"]),
        ("logs talker", &["one\ntwo\nthree\n", "Defaulted container \"lines\" out of: lines, other, first (init)"]),
        ("logs talker -c lines --tail=1", &["three\n", "not: two"]),
        ("logs talker -c lines --tail=0", &["not: three"]),
        ("logs talker -c other", &["of-the-other\n"]),
        ("logs talker -c first", &["before\n"]),
        ("logs talker --all-containers --prefix", &["[pod/talker/lines] one", "[pod/talker/first] before"]),
        ("logs talker -c lines --timestamps", &["Z one\n", "Z three\n"]),
        ("logs talker -c lines --since=1h", &["one\ntwo\nthree\n"]),
        ("logs talker -c lines --since-time=2100-01-01T00:00:00Z", &["not: one"]),
        ("logs talker -c lines --limit-bytes=5", &["one\nt", "not: two"]),
        ("logs -l app=talk --all-containers --prefix", &["[pod/second/c] of-the-second", "[pod/talker/lines] three"]),
        ("! logs talker -c none", &["container none is not valid for pod talker"]),
        ("! logs second --previous", &["(BadRequest): previous terminated container \"c\" in pod \"second\" not found"]),
        ("! logs none", &["pods \"none\" not found"]),
        ("~ logs again --previous", &["NOTHING"]),
        ("~ get pod again", &["CrashLoopBackOff"]),
        ("logs again", &["NOTHING"]),
        ("~ get pod absent", &["ErrImageNeverPull"]),
        ("! logs absent", &["Error from server (BadRequest): container \"c\" in pod \"absent\" is waiting to start: ErrImageNeverPull"]),
        ("wait --for=condition=Ready pod/endless --timeout 60s", &["met"]),
    ]);
    let mut following = stage.follow(&["logs", "-f", "endless"]);
    following.until("shipping /nowhere").unwrap();
    stage.script(&[("delete pod endless", &["deleted"])]);
    assert!(following.ended().unwrap(), "logs -f ends with its container");
    let mut ended = stage.follow(&["logs", "-f", "second"]);
    assert!(ended.ended().unwrap(), "a container that has ended is not followed");
    ended.until("of-the-second").unwrap();
}
