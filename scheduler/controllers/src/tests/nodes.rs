//! Nodes that fall silent, come back, are tainted, or go.

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::kinds::{Lease, Node, Pod};
use wherry_client::DeleteOptions;
use wherry_fixture as fixture;

use super::scene::{NODE, Scene, looks_again, words};
use crate::nodes::NodeLifecycle;

const CONTROLLER: NodeLifecycle = NodeLifecycle { grace: std::time::Duration::from_secs(40) };
fn key() -> ObjectKey {
    ObjectKey::new("", NODE)
}

async fn world() -> Scene {
    let node = fixture::node(NODE, "conditions: [{type: Ready, status: 'True', reason: KubeletReady}]");
    let patient = fixture::Pod::named("patient").spec("tolerations: [{operator: Exists}]").to_string();
    let scene = Scene::of(&[node, fixture::Pod::named("plain").to_string(), patient].concat()).await;
    let lease = "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: n1, namespace: kube-node-lease}\nspec: {renewTime: '2026-01-01T00:00:00.000000Z'}";
    scene.add(lease).await;
    scene.run_pods(&["i"]).await;
    scene.settle_one(&CONTROLLER, &key()).await;
    scene
}

async fn renew(scene: &Scene) {
    let patch = json!({"spec": {"renewTime": scene.now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()}});
    scene.client.namespaced::<Lease>("kube-node-lease").merge("n1", &patch).await.unwrap();
}

async fn node(scene: &Scene) -> Node {
    scene.client.all::<Node>().get(NODE).await.unwrap()
}

async fn taints(scene: &Scene) -> Vec<String> {
    let taints = node(scene).await.spec.unwrap_or_default().taints.unwrap_or_default();
    taints.iter().map(|taint| format!("{}:{}", taint.key.rsplit('/').next().unwrap(), taint.effect)).collect()
}

/// Name, readiness, and whether it ends.
async fn pods(scene: &Scene) -> Vec<(String, bool, bool)> {
    let is_ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().unwrap().conditions.iter().flatten();
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let pods = scene.pods().await;
    pods.iter()
        .map(|pod| (pod.metadata.name.clone().unwrap(), is_ready(pod), pod.metadata.deletion_timestamp.is_some()))
        .collect()
}

fn pod(name: &str, is_ready: bool, is_ending: bool) -> (String, bool, bool) {
    (name.to_owned(), is_ready, is_ending)
}

#[tokio::test]
async fn a_node_that_renews_its_lease_is_let_be() {
    let scene = world().await;
    for _ in 0..5 {
        scene.pass(10);
        renew(&scene).await;
        let plan = scene.step(&CONTROLLER, &key()).await;
        assert_eq!((words(&plan).as_str(), looks_again(&plan)), ("note", Some(40)));
    }
    scene.pass(39);
    assert_eq!(words(&scene.step(&CONTROLLER, &key()).await), "");
    assert_eq!(taints(&scene).await, [""; 0]);
}

#[tokio::test]
async fn a_silent_node_loses_its_traffic_then_its_pods_and_may_come_back() {
    let scene = world().await;
    scene.pass(40);
    let plan = scene.step(&CONTROLLER, &key()).await;
    assert_eq!(words(&plan), "patch node status, tell NodeNotReady");
    scene.settle_one(&CONTROLLER, &key()).await;
    let unknown: Vec<_> =
        node(&scene).await.status.unwrap().conditions.unwrap().into_iter().map(|c| (c.type_, c.status)).collect();
    assert_eq!((unknown.len(), unknown.iter().all(|(_, status)| status == "Unknown")), (4, true));
    assert_eq!(taints(&scene).await, ["unreachable:NoSchedule", "unreachable:NoExecute"]);
    assert_eq!(pods(&scene).await, [pod("patient", false, false), pod("plain", false, false)]);
    // It comes back in time: everything is as before.
    let back = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    renew(&scene).await;
    scene.status::<Node>(NODE, back.clone()).await;
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(taints(&scene).await, [""; 0]);
    assert_eq!(pods(&scene).await, [pod("patient", true, false), pod("plain", true, false)]);
    // It does not: after five minutes those go that bear no more.
    scene.pass(41);
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(looks_again(&scene.step(&CONTROLLER, &key()).await), Some(300));
    scene.pass(299);
    scene.settle_one(&CONTROLLER, &key()).await;
    assert!(pods(&scene).await.iter().all(|(_, _, is_ending)| !is_ending));
    scene.pass(1);
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(pods(&scene).await, [pod("patient", false, false), pod("plain", false, true)]);
}

#[tokio::test]
async fn a_node_that_says_itself_that_it_is_not_ready_is_tainted_too() {
    let scene = world().await;
    scene
        .status::<Node>(
            NODE,
            json!({"conditions": [
        {"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"}]}),
        )
        .await;
    scene.settle_one(&CONTROLLER, &key()).await;
    let mut all = taints(&scene).await;
    all.sort();
    assert_eq!(all, ["disk-pressure:NoSchedule", "not-ready:NoExecute", "not-ready:NoSchedule"]);
    assert_eq!(pods(&scene).await, [pod("patient", true, false), pod("plain", true, false)]);
}

#[tokio::test]
async fn taints_of_people_drive_away_who_does_not_bear_them() {
    let scene = world().await;
    let timed = "tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]";
    scene.add(&fixture::Pod::named("timed").spec(timed).to_string()).await;
    scene.run_pods(&["i"]).await;
    let spec = |taints: Value| json!({"spec": {"unschedulable": true, "taints": taints}});
    scene
        .patch::<Node>(NODE, spec(json!([{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoSchedule"}])))
        .await;
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(taints(&scene).await, ["a:NoExecute", "b:NoSchedule", "unschedulable:NoSchedule"]);
    assert_eq!(pods(&scene).await, [pod("patient", true, false), pod("plain", true, true), pod("timed", true, false)]);
    scene.pass(30);
    renew(&scene).await;
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(pods(&scene).await.last(), Some(&pod("timed", true, true)));
    scene.patch::<Node>(NODE, json!({"spec": {"unschedulable": null}})).await;
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(taints(&scene).await, ["a:NoExecute", "b:NoSchedule"]);
}

#[tokio::test]
async fn the_pods_of_a_node_that_is_gone_go_for_good() {
    let scene = world().await;
    scene.client.all::<Node>().delete(NODE, DeleteOptions::default()).await.unwrap();
    scene.client.namespaced::<Pod>("default").delete("plain", DeleteOptions::default()).await.unwrap();
    scene.settle_one(&CONTROLLER, &key()).await;
    assert_eq!(looks_again(&scene.step(&CONTROLLER, &key()).await), Some(40), "the node may just not be shown yet");
    scene.pass(40);
    let plan = scene.step(&CONTROLLER, &key()).await;
    assert_eq!((words(&plan).as_str(), scene.pods().await.len()), ("delete pod *2", 0));
    assert_eq!(words(&scene.step(&CONTROLLER, &key()).await), "forget");
    assert_eq!(words(&scene.step(&CONTROLLER, &key()).await), "");
}
