//! `apply`, `edit`, `replace`, `patch`, and what wrong manifests are answered.

use std::os::unix::fs::PermissionsExt;

use super::Stage;

const MAP: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: c, labels: {app: a, old: b}}
data: {a: '1', b: '2'}
";

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: hello-http:v1
          env: [{name: A, value: a}, {name: B, value: b}]
        - {name: side, image: 'batch:v1'}
";

pub fn scene(stage: &Stage<'_>) {
    std::fs::create_dir(stage.directory.join("app")).unwrap();
    stage.write("app/1-map.yaml", MAP);
    stage.write("app/2-web.yaml", WEB);
    stage.script(&[
        ("apply -f {dir}/app", &["configmap/c created", "deployment.apps/web created"]),
        ("apply -f {dir}/app", &["configmap/c unchanged", "deployment.apps/web unchanged"]),
        ("kubectl: apply view-last-applied configmap c", &["a: \"1\""]),
        // Somebody else's field survives what follows.
        ("label configmap c owner=other", &["configmap/c labeled"]),
        ("scale deployment web --replicas 0", &["deployment.apps/web scaled"]),
        ("set env deployment web OTHER=o -c web", &["deployment.apps/web env updated"]),
    ]);
    stage.write("app/1-map.yaml", &MAP.replace("b: '2'", "c: '3'").replace(", old: b", ""));
    let web = WEB.replace(", {name: B, value: b}", "").replace("name: A, value: a", "name: A, value: z");
    stage.write("app/2-web.yaml", &web.replace("replicas: 0", "replicas: 0\n  strategy: {type: Recreate}"));
    stage.script(&[
        ("kubectl: apply -f {dir}/app --dry-run=server", &["configmap/c configured (server dry run)"]),
        ("apply -f {dir}/app", &["configmap/c configured", "deployment.apps/web configured"]),
        (
            "get configmap c -o jsonpath={.data}{.metadata.labels}",
            &["{\"a\":\"1\",\"c\":\"3\"}{\"app\":\"a\",\"owner\":\"other\"}"],
        ),
        (
            "get deploy web -o jsonpath={.spec.template.spec.containers[0].env}{.spec.strategy}",
            &["[{\"name\":\"A\",\"value\":\"z\"},{\"name\":\"OTHER\",\"value\":\"o\"}]{\"type\":\"Recreate\"}"],
        ),
        ("get deploy web -o jsonpath={.spec.template.spec.containers[*].name}", &["web side"]),
    ]);
    edit(stage);
    patch(stage);
    replace(stage);
    wrong(stage);
}

fn edit(stage: &Stage<'_>) {
    let editor = stage.write("editor", "#!/bin/sh\nexec sed -i \"s/c: ['\\\"]3['\\\"]/c: edited/\" \"$1\"\n");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    for expected in ["configmap/c edited", "Edit cancelled, no changes made."] {
        let mut command = stage.command(&["edit", "configmap", "c"]);
        let output = command.env("KUBE_EDITOR", &editor).output().unwrap();
        let printed = wherry_tests::Printed::from(output);
        assert!(printed.ok && (printed.out + &printed.err).contains(expected), "{expected}");
    }
    stage.script(&[("get configmap c -o jsonpath={.data.c}", &["edited"])]);
}

fn patch(stage: &Stage<'_>) {
    stage.script(&[
        // By their names' the containers are merged: the other one stays.
        (
            "patch deployment web -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"hello3:v1\"}]}}}}'",
            &["deployment.apps/web patched"],
        ),
        ("get deploy web -o jsonpath={.spec.template.spec.containers[*].image}", &["hello-http:v1 hello3:v1"]),
        ("patch configmap c --type merge -p '{\"data\":{\"a\":null,\"m\":\"merged\"}}'", &["configmap/c patched"]),
        ("get configmap c -o jsonpath={.data}", &["{\"c\":\"edited\",\"m\":\"merged\"}"]),
        (
            "patch configmap c --type json -p '[{\"op\":\"test\",\"path\":\"/data/m\",\"value\":\"merged\"},{\"op\":\"remove\",\"path\":\"/data/m\"}]'",
            &["configmap/c patched"],
        ),
        ("patch configmap c --type merge -p '{\"data\":{\"c\":\"edited\"}}'", &["configmap/c patched (no change)"]),
        ("! patch configmap c --type json -p '[{\"op\":\"remove\",\"path\":\"/data/none\"}]'", &["path '/data/none'"]),
        ("annotate configmap c note='by hand'", &["configmap/c annotated"]),
        ("! annotate configmap c note=other", &["already has a value"]),
        ("annotate configmap c note=other --overwrite", &["configmap/c annotated"]),
        ("label configmap c owner-", &["configmap/c unlabeled"]),
        ("label configmap --all tier=x", &["configmap/c labeled"]),
    ]);
}

fn replace(stage: &Stage<'_>) {
    stage.write("replaced.yaml", &MAP.replace("a: '1', b: '2'", "new: all"));
    stage.script(&[
        ("kubectl: replace -f {dir}/replaced.yaml", &["configmap/c replaced"]),
        ("wherry: apply -f {dir}/replaced.yaml", &["configmap/c configured"]),
        ("get configmap c -o jsonpath={.data}", &["{\"new\":\"all\"}"]),
        ("kubectl: replace --force -f {dir}/replaced.yaml", &["configmap \"c\" deleted", "configmap/c replaced"]),
        ("! create -f {dir}/replaced.yaml", &["(AlreadyExists)", "configmaps \"c\" already exists"]),
    ]);
}

fn wrong(stage: &Stage<'_>) {
    stage.write("field.yaml", &WEB.replace("replicas: 0", "replica: 0"));
    stage.write("type.yaml", &WEB.replace("replicas: 0", "replicas: many"));
    stage.write("value.yaml", &WEB.replace("name: side", "name: Side").replace("name: web, ", ""));
    stage.write("kind.yaml", "apiVersion: v1\nkind: Frob\nmetadata: {name: x}\n");
    stage.write("no.yaml", "a: [\n");
    // What a list holds is checked by kubectl itself, with the schemas of /openapi/v2.
    let item = "{apiVersion: v1, kind: ConfigMap, metadata: {name: listed}, data: {a: b}}";
    let list = format!("apiVersion: v1\nkind: List\nitems: [{item}]\n");
    stage.write("list.yaml", &list);
    stage.write("badlist.yaml", &list.replace(", data:", ", date:"));
    stage.script(&[
        ("! apply -f {dir}/field.yaml", &["unknown field \"spec.replica\""]),
        ("! apply -f {dir}/type.yaml", &["replicas"]),
        ("! apply -f {dir}/value.yaml", &["spec.template.spec.containers[1].name: Invalid value: \"Side\""]),
        ("! apply -f {dir}/kind.yaml", &["no matches for kind \"Frob\" in version \"v1\""]),
        ("apply -f {dir}/list.yaml", &["configmap/listed created"]),
        ("! apply -f {dir}/badlist.yaml", &["unknown field \"date\""]),
        ("kubectl: ! apply -f {dir}/no.yaml", &["error converting YAML to JSON"]),
        ("wherry: ! apply -f {dir}/no.yaml", &["no.yaml is no YAML"]),
        ("! get pod none", &["Error from server (NotFound): pods \"none\" not found"]),
        ("! get frobs", &["the server doesn't have a resource type \"frobs\""]),
        ("! create configmap x -n nowhere", &["namespaces \"nowhere\" not found"]),
    ]);
}
