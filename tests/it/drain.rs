//! Nodes that are emptied, by `wherry drain` and by stock kubectl, as far as a disruption budget lets them.

use wherry_api::kinds::Pod;
use wherry_client::ListOptions;
use wherry_tests::{Cluster, Kubectl, Machine, is_ready, until};

use crate::WHERRY;
use crate::commands::{attempt, verb};

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Waits until so many pods are ready, all of them on one node.
fn until_all_on(cluster: &Cluster, node: &str, count: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pods = cluster.client().unwrap().namespaced::<Pod>("default");
    until("the pods are where they may be", || {
        let all = runtime.block_on(pods.list(ListOptions::default()))?.items;
        Ok((all.len() == count && all.iter().all(|pod| is_ready_on(pod, node))).then_some(()))
    })
    .unwrap();
}

fn is_ready_on(pod: &Pod, node: &str) -> bool {
    is_ready(pod) && pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
}

#[test]
fn a_node_is_drained_as_its_budget_lets_it() {
    let cluster = Cluster::start_as("master", WHERRY, &[]).unwrap();
    let token = verb(&cluster, "token create");
    let _second = Machine::join(&cluster, "n2", "127.0.0.2", &token, &[]).unwrap();
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", include_str!("drain/web.yaml")).unwrap();
    verb(&cluster, "wait --for condition=Available deployment/web --timeout 60s");
    until_all_on(&cluster, "n2", 1);
    let _third = Machine::join(&cluster, "n3", "127.0.0.3", &token, &[]).unwrap();
    // The only pod stays, though another node could take it: the budget asks for one at any time.
    let uid = verb(&cluster, "get pods -l app=web -o jsonpath={.items[0].metadata.uid}");
    let text = attempt(&cluster, "drain n2 --timeout 1s").unwrap_err();
    assert!(text.contains(REFUSED), "{text}");
    assert_eq!(verb(&cluster, "get pods -l app=web -o jsonpath={.items[0].metadata.uid}"), uid);
    assert_eq!(verb(&cluster, "get node n2 -o jsonpath={.spec.unschedulable}"), "true");
    // With another one elsewhere it may go.
    verb(&cluster, "scale deployment web --replicas 2");
    verb(&cluster, "rollout status deployment/web --timeout 60s");
    assert!(verb(&cluster, "drain n2 --timeout 60s").contains("node/n2 drained"));
    until_all_on(&cluster, "n3", 2);
    verb(&cluster, "uncordon n2");
    let Some(kubectl) = Kubectl::of(&cluster) else {
        println!("SKIPPED: kubectl is not installed; its drain was not tried");
        return;
    };
    let drained = kubectl.run(&["drain", "n3", "--timeout=60s"]).unwrap();
    assert!(drained.ok && drained.out.contains("node/n3 drained"), "{drained:?}");
    until_all_on(&cluster, "n2", 2);
}
