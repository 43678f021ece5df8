//! ReplicaSets: adoption and release, and who goes first.

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::kinds::{Pod, ReplicaSet};

use wherry_fixture as fixture;

use super::scene::{Scene, words};
use crate::driver::Controller;
use crate::plan::Action;
use crate::replicaset::ReplicaSets;

fn set(replicas: usize) -> String {
    fixture::replica_set("rs", replicas)
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "rs")
}

/// An orphan that a set will adopt: name and what is special about it.
fn pod(name: &str, annotations: &str, node: &str, status: &str) -> String {
    let pod = fixture::Pod::named(name).metadata(&format!("labels: {{app: rs}}, annotations: {{{annotations}}}"));
    let pod = if node.is_empty() { pod } else { pod.spec(&format!("nodeName: {node}")) };
    if status.is_empty() { pod.to_string() } else { pod.status(status).to_string() }
}

fn ready(since: &str, restarts: usize) -> String {
    format!(
        "phase: Running, podIP: 10.128.0.9, conditions: [{{type: Ready, status: 'True', lastTransitionTime: '{since}'}}],
        containerStatuses: [{{name: c, image: i, imageID: '', ready: true, restartCount: {restarts}}}]"
    )
}

#[tokio::test]
async fn the_least_useful_pods_go_first() {
    let long = "2025-12-01T00:00:00Z";
    let pods = [
        pod("h-last", "", "n3", &ready("2025-06-01T00:00:00Z", 0)),
        pod("a-unassigned", "", "", ""),
        pod("b-pending", "", "n4", "phase: Pending"),
        pod("c-unready", "", "n5", "phase: Running, podIP: 10.128.0.8"),
        pod("d-cheap", "controller.kubernetes.io/pod-deletion-cost: '-5'", "n6", &ready(long, 0)),
        pod("e-crowded", "", "n1", &ready(long, 0)),
        pod("e2-crowded", "", "n1", &ready(long, 0)),
        pod("f-fresh", "", "n7", &ready("2025-12-31T23:59:00Z", 0)),
        pod("g-restarted", "", "n8", &ready("2025-06-01T00:00:00Z", 3)),
    ];
    let scene = Scene::of(&pods.concat()).await;
    scene.add(&set(pods.len())).await;
    scene.settle_one(&ReplicaSets, &key()).await;
    assert_eq!(scene.pods().await.len(), pods.len(), "all were adopted");
    let mut order = Vec::new();
    for left in (1..pods.len()).rev() {
        scene.patch::<ReplicaSet>("rs", json!({"spec": {"replicas": left}})).await;
        let plan = scene.step(&ReplicaSets, &key()).await;
        let gone = plan.actions.iter().filter_map(|action| match action {
            Action::Delete { key, .. } => Some(key.name.to_string()),
            _ => None,
        });
        order.extend(gone);
        scene.end_pods().await;
    }
    // The two on one node are alike: the first of them goes as one of a crowd, the other as it would alone.
    let crowded = order.remove(4);
    assert!(crowded.starts_with("e"), "{crowded}");
    let rest: Vec<char> = order.iter().filter_map(|name| name.chars().next()).collect();
    assert_eq!(rest, ['a', 'b', 'c', 'd', 'f', 'e', 'g']);
}

#[tokio::test]
async fn orphans_are_adopted_and_pods_that_no_longer_match_are_released() {
    let other = "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: m, uid: u}], labels: {app: rs}";
    let orphan = pod("free", "", "", "").replace("labels: {app: rs}", other);
    let scene = Scene::of(&orphan).await;
    scene.add(&set(2)).await;
    let plan = scene.step(&ReplicaSets, &key()).await;
    assert_eq!(words(&plan), "patch pod");
    let owners = scene.pods().await[0].metadata.owner_references.clone().unwrap();
    let kinds: Vec<_> = owners.iter().map(|owner| (owner.kind.as_str(), owner.controller)).collect();
    assert_eq!(kinds, [("ConfigMap", None), ("ReplicaSet", Some(true))]);
    scene.settle_one(&ReplicaSets, &key()).await;
    scene.patch::<Pod>("free", json!({"metadata": {"labels": {"app": "mine"}}})).await;
    let plan = scene.step(&ReplicaSets, &key()).await;
    assert_eq!(words(&plan), "patch pod", "it is released");
    let plan = scene.step(&ReplicaSets, &key()).await;
    assert_eq!(words(&plan), "create pod, patch replicaset status", "and replaced");
    let free = scene.client.namespaced::<Pod>("default").get("free").await.unwrap();
    assert_eq!(free.metadata.owner_references.unwrap().len(), 1);
    scene.settle_one(&ReplicaSets, &key()).await;
    assert_eq!(scene.pods().await.len(), 3);
}

#[tokio::test]
async fn pods_are_replaced_and_a_stale_view_adopts_nothing_twice() {
    let scene = Scene::of(&set(3)).await;
    scene.settle_one(&ReplicaSets, &key()).await;
    scene.run_pods(&["i:1"]).await;
    let name = scene.pods().await[0].metadata.name.clone().unwrap();
    scene.client.namespaced::<Pod>("default").delete(&name, wherry_client::DeleteOptions::default()).await.unwrap();
    let plan = scene.step(&ReplicaSets, &key()).await;
    assert_eq!(words(&plan), "create pod, patch replicaset status", "an ending pod is replaced at once");
    let status = scene.client.namespaced::<ReplicaSet>("default").get("rs").await.unwrap().status.unwrap();
    assert_eq!(status.terminating_replicas, Some(1));
    let failed = scene.pods().await.iter().find(|pod| pod.metadata.deletion_timestamp.is_none()).unwrap().clone();
    scene.status::<Pod>(&failed.metadata.name.unwrap(), json!({"phase": "Failed"})).await;
    scene.end_pods().await;
    scene.settle_one(&ReplicaSets, &key()).await;
    assert_eq!(scene.pods().await.len(), 4, "a failed pod stays, and counts no longer");
    scene.add(&pod("free", "", "", "")).await;
    let view = scene.view().await;
    scene.patch::<Pod>("free", json!({"metadata": {"labels": {"app": "mine"}}})).await;
    let plan = ReplicaSets.reconcile(&view, &key());
    assert_eq!(words(&plan), "patch pod");
    scene.carry_out(&plan).await;
    let free = scene.client.namespaced::<Pod>("default").get("free").await.unwrap();
    assert_eq!(free.metadata.owner_references.unwrap_or_default(), [], "the pod has changed since");
}
