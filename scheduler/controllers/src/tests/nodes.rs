//! Nodes that fall silent, come back, are tainted, or go.

use serde_json::{Value, json};
use wherry_api::kinds::{Lease, Node, Pod};
use wherry_api::{NodeLease, ObjectKey};
use wherry_client::{DeleteOptions, ListOptions};
use wherry_fixture as fixture;

use super::scene::{NODE, Scene, looks_again, words};
use crate::nodes::{NodeLifecycle, NodeMonitor};

const MONITOR: NodeMonitor = NodeMonitor {
    lease: NodeLease::DEFAULT,
    eviction_rate: 0.1,
    secondary_eviction_rate: 0.0,
    unhealthy_zone_threshold: 0.55,
    large_cluster_size_threshold: 50,
};
const READY: &str = "conditions: [{type: Ready, status: 'True', reason: KubeletReady}]";
const PLAIN: &str =
    "tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]";

/// One that remembers nothing: what it remembers is of one cluster.
const fn controller() -> NodeLifecycle {
    NodeLifecycle::new(MONITOR)
}

fn key() -> ObjectKey {
    ObjectKey::new("", NODE)
}

fn lease(name: &str) -> String {
    let head = "apiVersion: coordination.k8s.io/v1\nkind: Lease";
    let spec = "spec: {renewTime: '2026-01-01T00:00:00.000000Z'}";
    format!("---\n{head}\nmetadata: {{name: {name}, namespace: kube-node-lease}}\n{spec}\n")
}

/// A node with two pods, and another that is always well.
async fn world() -> Scene {
    let nodes = [fixture::node(NODE, READY), fixture::node("well", READY)].concat();
    let patient = fixture::Pod::named("patient").spec("tolerations: [{operator: Exists}]").to_string();
    let scene = Scene::of(&[nodes, fixture::Pod::named("plain").spec(PLAIN).to_string(), patient].concat()).await;
    scene.add(&lease(NODE)).await;
    scene.hear().await;
    scene.run_pods(&["i"]).await;
    scene.settle_one(&controller(), &key()).await;
    scene
}

async fn renew(scene: &Scene) {
    renew_of(scene, NODE).await;
}

async fn renew_of(scene: &Scene, name: &str) {
    let patch = json!({"spec": {"renewTime": scene.now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()}});
    scene.client.namespaced::<Lease>("kube-node-lease").merge(name, &patch).await.unwrap();
    scene.hear().await;
}

/// The node says that it is well.
async fn say_ready(scene: &Scene) {
    scene.status::<Node>(NODE, json!({"conditions": [{"type": "Ready", "status": "True"}]})).await;
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
        let plan = scene.step(&controller(), &key()).await;
        assert_eq!((words(&plan).as_str(), looks_again(&plan)), ("", Some(40)));
    }
    scene.pass(39);
    assert_eq!(words(&scene.step(&controller(), &key()).await), "");
    assert_eq!(taints(&scene).await, [""; 0]);
}

#[tokio::test]
async fn a_silent_node_loses_its_traffic_then_its_pods_and_may_come_back() {
    let scene = world().await;
    scene.pass(40);
    let plan = scene.step(&controller(), &key()).await;
    assert_eq!(words(&plan), "note, forget, patch node status, tell NodeNotReady");
    scene.settle_one(&controller(), &key()).await;
    let unknown: Vec<_> =
        node(&scene).await.status.unwrap().conditions.unwrap().into_iter().map(|c| (c.type_, c.status)).collect();
    assert_eq!((unknown.len(), unknown.iter().all(|(_, status)| status == "Unknown")), (4, true));
    assert_eq!(taints(&scene).await, ["unreachable:NoSchedule", "unreachable:NoExecute"]);
    assert_eq!(pods(&scene).await, [pod("patient", false, false), pod("plain", false, false)]);
    // It comes back in time: everything is as before.
    renew(&scene).await;
    say_ready(&scene).await;
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(taints(&scene).await, [""; 0]);
    assert_eq!(pods(&scene).await, [pod("patient", true, false), pod("plain", true, false)]);
    // It does not: after five minutes those go that bear no more.
    scene.pass(41);
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(looks_again(&scene.step(&controller(), &key()).await), Some(1), "others may fall silent too");
    scene.pass(299);
    scene.settle_one(&controller(), &key()).await;
    assert!(pods(&scene).await.iter().all(|(_, _, is_ending)| !is_ending));
    scene.pass(1);
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(pods(&scene).await, [pod("patient", false, false), pod("plain", false, true)]);
}

#[tokio::test]
async fn who_looks_late_does_not_judge_at_once() {
    let judged = "note, forget, patch node status, tell NodeNotReady";
    let scene = world().await;
    // As after the master's machine was asleep.
    scene.pass(55);
    let plan = scene.step(&controller(), &key()).await;
    assert_eq!((words(&plan).as_str(), looks_again(&plan)), ("note", Some(10)));
    scene.pass(4);
    let plan = scene.step(&controller(), &key()).await;
    assert_eq!((words(&plan).as_str(), looks_again(&plan)), ("", Some(6)));
    // The renewals were waiting.
    renew(&scene).await;
    scene.pass(39);
    assert_eq!(words(&scene.step(&controller(), &key()).await), "");
    // They were not.
    scene.pass(12);
    assert_eq!(words(&scene.step(&controller(), &key()).await), "note");
    scene.pass(10);
    assert_eq!(words(&scene.step(&controller(), &key()).await), judged);
    // One that is always late judges in the end.
    let scene = world().await;
    for (seconds, expected) in [(55, "note"), (21, "note"), (21, "note"), (21, judged)] {
        scene.pass(seconds);
        assert_eq!(words(&scene.step(&controller(), &key()).await), expected);
    }
}

#[tokio::test]
async fn who_hears_few_of_many_does_not_judge_at_once() {
    let judged = "note, forget, patch node status, tell NodeNotReady";
    let (names, a) = (["a", "b", "c", "d", "e"], ObjectKey::new("", "a"));
    for (well, expected) in [(&names[2..], vec![judged]), (&names[3..], vec!["note", "note", "note", judged])] {
        let scene = Scene::of(&names.map(|name| [fixture::node(name, READY), lease(name)].concat()).concat()).await;
        scene.hear().await;
        scene.pass(30);
        for expected in expected {
            for name in well {
                renew_of(&scene, name).await;
            }
            scene.pass(10);
            assert_eq!(words(&scene.step(&controller(), &a).await), expected, "{well:?} are well");
        }
    }
}

#[tokio::test]
async fn who_has_lost_most_nodes_long_ago_judges_the_others_at_once() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let scene = Scene::of(&names.map(|name| [fixture::node(name, READY), lease(name)].concat()).concat()).await;
    scene.hear().await;
    scene.pass(100);
    for name in ["e", "f"] {
        renew_of(&scene, name).await;
    }
    scene.pass(39);
    renew_of(&scene, "f").await;
    scene.pass(1);
    let plan = scene.step(&controller(), &ObjectKey::new("", "e")).await;
    assert_eq!(words(&plan), "note, forget, patch node status, tell NodeNotReady");
}

#[tokio::test]
async fn a_node_that_is_heard_again_holds_its_pods_though_it_has_the_taint_yet() {
    let scene = world().await;
    scene.pass(40);
    scene.settle_one(&controller(), &key()).await;
    scene.pass(299);
    renew(&scene).await;
    // It falls silent again before it says that it is ready.
    for (seconds, is_ending) in [(39, false), (1, false), (299, false), (1, true)] {
        scene.pass(seconds);
        scene.settle_one(&controller(), &key()).await;
        assert_eq!(taints(&scene).await, ["unreachable:NoSchedule", "unreachable:NoExecute"]);
        assert_eq!(pods(&scene).await.last(), Some(&pod("plain", false, is_ending)), "{seconds} s later");
    }
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
    scene.settle_one(&controller(), &key()).await;
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
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(taints(&scene).await, ["a:NoExecute", "b:NoSchedule", "unschedulable:NoSchedule"]);
    assert_eq!(pods(&scene).await, [pod("patient", true, false), pod("plain", true, true), pod("timed", true, false)]);
    scene.pass(30);
    renew(&scene).await;
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(pods(&scene).await.last(), Some(&pod("timed", true, true)));
    scene.patch::<Node>(NODE, json!({"spec": {"unschedulable": null}})).await;
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(taints(&scene).await, ["a:NoExecute", "b:NoSchedule"]);
}

#[tokio::test]
async fn the_pods_of_a_node_that_is_gone_go_for_good() {
    let scene = world().await;
    scene.client.all::<Node>().delete(NODE, DeleteOptions::default()).await.unwrap();
    scene.client.namespaced::<Pod>("default").delete("plain", DeleteOptions::default()).await.unwrap();
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(looks_again(&scene.step(&controller(), &key()).await), Some(40), "the node may just not be shown yet");
    scene.pass(40);
    let plan = scene.step(&controller(), &key()).await;
    assert_eq!((words(&plan).as_str(), scene.pods().await.len()), ("delete pod *2", 0));
    assert_eq!(words(&scene.step(&controller(), &key()).await), "forget");
    assert_eq!(words(&scene.step(&controller(), &key()).await), "");
}

#[tokio::test]
async fn a_node_without_a_lease_is_judged_too_but_later() {
    let scene = world().await;
    let well = ObjectKey::new("", "well");
    assert_eq!(looks_again(&scene.step(&controller(), &well).await), Some(40), "since it was first looked at");
    scene.pass(40);
    assert_eq!(words(&scene.step(&controller(), &well).await), "note, forget, patch node status, tell NodeNotReady");
}

#[tokio::test]
async fn a_taint_of_another_master_is_taken_to_be_a_second_younger() {
    let scene = world().await;
    let timed = "tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]";
    scene.add(&fixture::Pod::named("timed").spec(timed).to_string()).await;
    scene.run_pods(&["i"]).await;
    let taint = json!({"key": "a", "effect": "NoExecute", "timeAdded": scene.now().to_string()});
    scene.patch::<Node>(NODE, json!({"spec": {"taints": [taint]}})).await;
    for (seconds, is_ending) in [(30, false), (1, true)] {
        scene.pass(seconds);
        renew(&scene).await;
        scene.settle_one(&controller(), &key()).await;
        assert_eq!(pods(&scene).await.last(), Some(&pod("timed", true, is_ending)));
    }
}

#[tokio::test]
async fn a_node_that_falls_silent_again_and_again_must_be_well_for_a_while() {
    let scene = world().await;
    for held_seconds in [0, 0, 10, 20] {
        scene.pass(40);
        scene.settle_one(&controller(), &key()).await;
        // Not heard, it is not believed, and to say so again is no other silence.
        say_ready(&scene).await;
        scene.settle_one(&controller(), &key()).await;
        assert_eq!(taints(&scene).await, ["unreachable:NoSchedule", "unreachable:NoExecute"]);
        renew(&scene).await;
        say_ready(&scene).await;
        scene.settle_one(&controller(), &key()).await;
        if held_seconds > 0 {
            scene.pass(held_seconds - 1);
            scene.settle_one(&controller(), &key()).await;
            assert_eq!(taints(&scene).await, ["unreachable:NoSchedule"], "its pods may stay, others must not come");
            assert_eq!(pods(&scene).await, [pod("patient", false, false), pod("plain", false, false)]);
            assert_eq!(looks_again(&scene.step(&controller(), &key()).await), Some(1));
            scene.pass(1);
            scene.settle_one(&controller(), &key()).await;
        }
        assert_eq!(taints(&scene).await, [""; 0], "after {held_seconds} s");
        assert_eq!(pods(&scene).await, [pod("patient", true, false), pod("plain", true, false)]);
        renew(&scene).await;
    }
    // Long after that, it is a node as any other.
    scene.pass(39);
    renew(&scene).await;
    for _ in 0..20 {
        scene.pass(35);
        renew(&scene).await;
        scene.settle_one(&controller(), &key()).await;
    }
    scene.pass(40);
    scene.settle_one(&controller(), &key()).await;
    renew(&scene).await;
    say_ready(&scene).await;
    scene.settle_one(&controller(), &key()).await;
    assert_eq!(taints(&scene).await, [""; 0]);
}

/// All nodes are looked at, in order: the names of those whose pods are driven away then.
async fn driven(scene: &Scene) -> Vec<String> {
    let nodes = scene.client.all::<Node>().list(ListOptions::default()).await.unwrap().items;
    let keys: Vec<_> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
    for name in keys {
        scene.settle_one(&controller(), &ObjectKey::new("", name)).await;
    }
    let nodes = scene.client.all::<Node>().list(ListOptions::default()).await.unwrap().items;
    let is_driven = |node: &Node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        taints.into_iter().flatten().any(|taint| taint.effect == "NoExecute")
    };
    nodes.into_iter().filter(is_driven).filter_map(|node| node.metadata.name).collect()
}

async fn say(scene: &Scene, names: &[&str], status: &str) {
    for name in names {
        scene.status::<Node>(name, json!({"conditions": [{"type": "Ready", "status": status}]})).await;
    }
}

#[tokio::test]
async fn the_more_nodes_vanish_the_slower_their_pods_are_given_to_others() {
    let names = ["a", "b", "c", "d", "e"];
    let scene = Scene::of(&names.map(|name| fixture::node(name, READY)).concat()).await;
    say(&scene, &["a", "b"], "Unknown").await;
    assert_eq!(driven(&scene).await, ["a"], "one after the other");
    scene.pass(9);
    assert_eq!(driven(&scene).await, ["a"]);
    scene.pass(1);
    assert_eq!(driven(&scene).await, ["a", "b"]);
    // Three of five: in a cluster as small as this one nobody is driven away any more.
    say(&scene, &["c"], "Unknown").await;
    scene.pass(10);
    assert_eq!(driven(&scene).await, ["a", "b"]);
    // All of them: it is the master that is cut off.
    say(&scene, &["d", "e"], "Unknown").await;
    assert_eq!(driven(&scene).await, [""; 0]);
    // Four are back: the fifth has a grace before it is its turn.
    say(&scene, &["a", "b", "c", "d"], "True").await;
    scene.pass(15);
    assert_eq!(driven(&scene).await, [""; 0]);
}

#[tokio::test]
async fn zones_are_judged_apart() {
    let zone = |name: &str, zone: &str| {
        let labels = format!("labels: {{topology.kubernetes.io/zone: {zone}}}");
        fixture::node(name, READY).replace("{name:", &format!("{{{labels}, name:"))
    };
    let nodes = [zone("a1", "a"), zone("a2", "a"), zone("a3", "a"), zone("b1", "b"), zone("b2", "b")];
    let scene = Scene::of(&nodes.concat()).await;
    say(&scene, &["a1", "a2", "a3", "b1"], "Unknown").await;
    assert_eq!(driven(&scene).await, ["a1", "b1"], "a zone that is gone as a whole has its rate, and so has the other");
    scene.pass(10);
    assert_eq!(driven(&scene).await, ["a1", "a2", "b1"]);
}
