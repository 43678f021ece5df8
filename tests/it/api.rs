//! The API with stock kubectl where it is installed, else with the project's own verbs; and what strangers get.

use wherry_api::Reason;
use wherry_api::kinds::{ConfigMap, Pod};
use wherry_client::{Client, Https, Kubeconfig, ListOptions};
use wherry_tests::{Cluster, Kubectl};

use crate::WHERRY;

/// Commands in order, and a part of what each must print.
const KUBECTL: &[(&str, &str)] = &[
    ("api-resources", "deployments"),
    ("create namespace shop", "namespace/shop created"),
    ("create deployment web -n shop --image hello-http:v1 --port 8080 --replicas 2", "deployment.apps/web created"),
    ("rollout status deployment/web -n shop --timeout 60s", "successfully rolled out"),
    ("expose deployment web -n shop --port 80 --target-port 8080", "service/web exposed"),
    ("get deployment web -n shop", "2/2"),
    ("get pods -n shop -o wide", "10.128."),
    ("get pods -A -l app=web", "Running"),
    ("get pods -n shop --field-selector status.phase=Running -o name", "pod/web-"),
    ("get deploy web -n shop -o jsonpath={.spec.replicas}", "2"),
    ("get pods -n shop --sort-by .metadata.name -o custom-columns=NAME:.metadata.name", "web-"),
    ("get deploy web -n shop -o yaml", "kind: Deployment"),
    ("describe deployment web -n shop", "StrategyType:"),
    ("describe pods -n shop -l app=web", "ContainersReady"),
    ("patch deployment web -n shop -p {\"spec\":{\"minReadySeconds\":0,\"revisionHistoryLimit\":3}}", "patched"),
    ("label deployment web -n shop tier=front", "labeled"),
    ("annotate deployment web -n shop kubernetes.io/change-cause=first", "annotated"),
    ("scale deployment web -n shop --replicas 3", "scaled"),
    ("set env deployment/web -n shop COLOUR=red", "env updated"),
    ("rollout status deployment/web -n shop --timeout 60s", "successfully rolled out"),
    ("set image deployment/web -n shop hello-http=hello3:v1", "image updated"),
    ("rollout status deployment/web -n shop --timeout 60s", "successfully rolled out"),
    ("rollout history deployment/web -n shop", "3"),
    ("rollout undo deployment/web -n shop", "rolled back"),
    ("rollout status deployment/web -n shop --timeout 60s", "successfully rolled out"),
    ("rollout pause deployment/web -n shop", "paused"),
    ("rollout resume deployment/web -n shop", "resumed"),
    ("rollout restart deployment/web -n shop", "restarted"),
    ("rollout status deployment/web -n shop --timeout 60s", "successfully rolled out"),
    ("wait -n shop --for=condition=available deployment/web --timeout 60s", "condition met"),
    ("run job -n shop --image batch:v1 --restart Never -- echo done", "pod/job created"),
    ("wait -n shop --for=jsonpath={.status.phase}=Succeeded pod/job --timeout 60s", "condition met"),
    ("logs job -n shop --timestamps --tail 1", "done"),
    ("events -n shop", "ScalingReplicaSet"),
    ("cluster-info", "running at"),
    ("cordon wherry", "cordoned"),
    ("uncordon wherry", "uncordoned"),
    ("taint node wherry a=b:NoSchedule", "tainted"),
    ("taint node wherry a-", "untainted"),
    ("explain pod.spec.containers", "FIELD: containers"),
    ("auth can-i create pods", "yes"),
    ("create configmap c -n shop --from-literal a=b --dry-run=server", "created (server dry run)"),
    ("delete deployment web -n shop", "deleted"),
    ("delete namespace shop --timeout 60s", "deleted"),
];

/// The same for where kubectl is not installed.
const OWN: &[(&str, &str)] =
    &[("get nodes", "Ready"), ("get pods -A", "NAMESPACE"), ("events -A", "Started"), ("image ls", "hello-http:v1")];

#[test]
fn the_verbs_that_people_know() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["hello-http", "hello3", "batch"] {
        cluster.load_guest(guest).unwrap();
    }
    let Some(kubectl) = Kubectl::of(&cluster) else {
        eprintln!("SKIPPED: kubectl is not installed; running the project's own verbs instead");
        return own_verbs(&cluster);
    };
    for (command, expected) in KUBECTL {
        let arguments: Vec<&str> = command.split(' ').collect();
        let printed = kubectl.run(&arguments).unwrap();
        assert!(
            printed.ok && printed.out.contains(expected),
            "kubectl {command}: wanted {expected:?}, got {printed:?}"
        );
    }
}

fn own_verbs(cluster: &Cluster) {
    let applied =
        cluster.wherry(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/features/probes.yaml")]);
    assert!(applied.unwrap().status.success());
    for (command, expected) in OWN {
        wherry_tests::until(command, || {
            let output = cluster.wherry(&command.split(' ').collect::<Vec<_>>())?;
            Ok(String::from_utf8_lossy(&output.stdout).contains(expected).then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn strangers_get_health_and_version_only() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let known = Kubeconfig::load(&cluster.kubeconfig()).unwrap();
    let stranger = Kubeconfig { certificate: String::new(), key: String::new(), ..known };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::from_kubeconfig(&stranger).unwrap();
        let error = client.all::<Pod>().list(ListOptions::default()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unauthorized);
        let https = Https::new(&stranger).unwrap();
        assert!(https.stream("/version").await.is_ok() && https.stream("/readyz").await.is_ok());
        assert!(https.stream("/api").await.is_err());
    });
}

#[test]
fn bad_input_is_told_and_changes_nothing() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let api = cluster.client().unwrap().namespaced::<ConfigMap>("default");
        let mut map = ConfigMap::default();
        map.metadata.name = Some("Not A Name".into());
        let error = api.create(&map).await.unwrap_err();
        assert!(error.reason == Reason::Invalid && error.message.contains("metadata.name"), "{error}");
        map.metadata.name = Some("big".into());
        map.data = Some([("key".to_owned(), "x".repeat(4 << 20))].into());
        let error = api.create(&map).await.unwrap_err();
        assert_eq!(error.reason, Reason::RequestEntityTooLarge, "{error}");
        assert!(api.get("big").await.is_err());
    });
    let bad = [
        ("no.yaml", "a: [", "no YAML"),
        ("kind.yaml", "apiVersion: v1\nkind: Frob\nmetadata: {name: x}", "no kind \"Frob\""),
    ];
    for (file, text, expected) in bad {
        let path = cluster.data().join(file);
        std::fs::write(&path, text).unwrap();
        let output = cluster.wherry(&["apply", "-f", &path.display().to_string()]).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{file}: {error}");
    }
    let path = cluster.data().join("half.wasm");
    std::fs::write(&path, b"\0asm\x01\0\0\0\x01").unwrap();
    let output = cluster.wherry(&["image", "load", &path.display().to_string(), "half:v1"]).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("not a valid wasm module"), "{error}");
}
