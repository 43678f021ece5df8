//! `wherry snapshot save` and `restore`, while the cluster runs: what was there is there again, and what came since is gone.

use wherry_tests::{Cluster, Kubectl, until};

use crate::WHERRY;
use crate::commands::{attempt, verb};

/// What there was when the state was saved, and nothing else.
fn is_as_before(cluster: &Cluster) {
    for name in ["kept", "deleted"] {
        assert_eq!(verb(cluster, &format!("get configmap {name} -o jsonpath={{.data.word}}")), "before", "{name}");
    }
    let text = attempt(cluster, "get configmap new").unwrap_err();
    assert!(text.contains("not found"), "{text}");
    assert_eq!(verb(cluster, "get deployment web -o jsonpath={.spec.replicas}"), "2");
}

#[test]
fn a_saved_state_comes_back() {
    let mut cluster = Cluster::start(WHERRY).unwrap();
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", include_str!("snapshot/before.yaml")).unwrap();
    verb(&cluster, "rollout status deployment/web --timeout 60s");
    let file = cluster.data().join("state.snapshot");
    let path = file.display().to_string();
    assert!(verb(&cluster, &format!("snapshot save {path}")).contains("saved"));
    verb(&cluster, "delete configmap deleted");
    verb(&cluster, "patch configmap kept --type merge -p {\"data\":{\"word\":\"after\"}}");
    verb(&cluster, "create configmap new --from-literal word=after");
    verb(&cluster, "scale deployment web --replicas 0");
    until("the pods are gone", || {
        Ok(verb(&cluster, "get pods -l app=web -o name").lines().all(|line| !line.starts_with("pod/")).then_some(()))
    })
    .unwrap();
    // A damaged file changes nothing.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = cluster.data().join("damaged.snapshot");
    std::fs::write(&damaged, &bytes).unwrap();
    let text = attempt(&cluster, &format!("snapshot restore {}", damaged.display())).unwrap_err();
    assert!(text.contains("was not restored"), "{text}");
    assert_eq!(verb(&cluster, "get configmap new -o jsonpath={.data.word}"), "after");
    // The whole one leads back, pods included, and a client that watches sees it.
    let told = verb(&cluster, &format!("snapshot restore {path}"));
    assert!(told.contains("restored"), "{told}");
    is_as_before(&cluster);
    verb(&cluster, "rollout status deployment/web --timeout 60s");
    verb(&cluster, "wait --for condition=Ready pod -l app=web --timeout 60s");
    if let Some(kubectl) = Kubectl::of(&cluster) {
        let got = kubectl.run(&["get", "configmaps", "-o", "name"]).unwrap();
        let names: Vec<&str> = got.out.lines().filter(|line| !line.contains("kube-root-ca")).collect();
        assert_eq!(names, ["configmap/deleted", "configmap/kept"], "{got:?}");
    } else {
        println!("SKIPPED: kubectl is not installed");
    }
    // It is as durable as any other write.
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    is_as_before(&cluster);
}
