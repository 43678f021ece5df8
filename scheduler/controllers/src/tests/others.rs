//! Namespaces, ingress status, ended pods, old events, and what the binder keeps in mind.

use std::time::Duration;

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::kinds::{self, Event, Ingress, Kind, Namespace};
use wherry_client::{DeleteOptions, ListOptions};
use wherry_fixture::{self as fixture, Pod};
use wherry_placement::place;

use super::scene::{NODE, Scene, words};
use crate::binder::Ledger;
use crate::driver::Controller;
use crate::ended::EndedPods;
use crate::expiry::sweep;
use crate::ingress::IngressStatus;
use crate::namespace::Namespaces;
use crate::plan::{Plan, Subject};
use crate::tokens::ExpiredTokens;

fn pods(names: &[&str]) -> String {
    names.iter().map(|name| Pod::named(name).container("resources: {requests: {cpu: 600m}}").to_string()).collect()
}

#[tokio::test]
async fn bootstrap_tokens_go_when_they_have_expired() {
    let secret = |name: &str, kind: &str, until: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: kube-system}}\ntype: {kind}\nstringData: {{{until}}}\n"
        )
    };
    let token = "bootstrap.kubernetes.io/token";
    let scene = Scene::of("").await;
    let until = scene.now() + jiff::SignedDuration::from_secs(100);
    let until = format!("expiration: '{until:.0}'");
    let all = [
        ("timed", token, &*until),
        ("for-ever", token, ""),
        ("unreadable", token, "expiration: soon"),
        ("other", "Opaque", &*until),
    ];
    scene.add(&all.map(|(name, kind, until)| secret(name, kind, until)).concat()).await;
    let key = |name: &str| ObjectKey::new("kube-system", name);
    let step = async |name: &str| {
        let plan = scene.step(&ExpiredTokens, &key(name)).await;
        format!("{} {:?}", words(&plan), plan.requeue_after.map(|wait| wait.as_secs()))
    };
    assert_eq!(step("unreadable").await, "delete secret None");
    for (name, expected) in [("timed", " Some(100)"), ("for-ever", " None"), ("other", " None")] {
        assert_eq!(step(name).await, expected, "{name}");
    }
    scene.pass(100);
    for (name, expected) in [("timed", "delete secret None"), ("for-ever", " None"), ("other", " None")] {
        assert_eq!(step(name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_namespace_goes_with_its_events_and_keeps_the_finalizers_of_others() {
    let scene = Scene::of(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\nspec: {finalizers: [kubernetes, example.com/other]}",
    )
    .await;
    let (key, controller) = (ObjectKey::new("", "shop"), Namespaces { ca_certificate: "PEM".into() });
    assert_eq!(words(&scene.step(&controller, &key).await), "create serviceaccount, create configmap");
    scene.add("apiVersion: v1\nkind: Event\nmetadata: {name: e, namespace: shop}\ninvolvedObject: {kind: Pod, name: p, namespace: shop}\nreason: R\ntype: Normal").await;
    scene.client.all::<Namespace>().delete("shop", DeleteOptions::default()).await.unwrap();
    let plan = scene.step(&controller, &key).await;
    assert_eq!(
        (words(&plan).as_str(), plan.requeue_after),
        ("delete configmap, delete serviceaccount", Some(Duration::from_secs(1)))
    );
    assert_eq!(words(&scene.step(&controller, &key).await), "delete all events, replace namespace");
    assert_eq!(scene.client.namespaced::<Event>("shop").list(ListOptions::default()).await.unwrap().items.len(), 0);
    let left = scene.client.all::<Namespace>().get("shop").await.unwrap().spec.unwrap().finalizers;
    assert_eq!(left, Some(vec!["example.com/other".to_owned()]));
    assert_eq!(words(&scene.step(&controller, &key).await), "");
}

#[tokio::test]
async fn an_ingress_of_ours_says_where_it_is_reached() {
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: NAME}\nspec: {CLASSdefaultBackend: {service: {name: s, port: {number: 80}}}}\n";
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: NAME}\nspec: {controller: wherry.dev/ingress}\n";
    let named = |name: &str, class: &str| ingress.replace("NAME", name).replace("CLASS", class);
    let scene = Scene::of(
        &[
            class.replace("NAME", "second"),
            named("a", "ingressClassName: wherry, "),
            named("b", "ingressClassName: second, "),
            named("c", "ingressClassName: nginx, "),
        ]
        .concat(),
    )
    .await;
    let controller = IngressStatus { address: "192.0.2.7".parse().unwrap() };
    let addresses = async |name: &str| {
        scene.settle_one(&controller, &ObjectKey::new("default", name)).await;
        let status = scene.client.namespaced::<Ingress>("default").get(name).await.unwrap().status.unwrap_or_default();
        status.load_balancer.unwrap_or_default().ingress.unwrap_or_default().len()
    };
    assert_eq!([addresses("a").await, addresses("b").await, addresses("c").await], [1, 1, 0]);
    scene.patch::<Ingress>("a", json!({"spec": {"ingressClassName": "nginx"}})).await;
    assert_eq!(addresses("a").await, 0);
}

#[tokio::test]
async fn of_too_many_ended_pods_the_oldest_go() {
    let scene = Scene::of("").await;
    for name in ["c", "a", "b", "d"] {
        scene.add(&pods(&[name])).await;
        let phase = if name == "d" { "Running" } else { "Failed" };
        scene.status::<kinds::Pod>(name, json!({"phase": phase})).await;
        scene.pass(1);
    }
    let controller = EndedPods { most: 1 };
    assert_eq!(words(&scene.step(&controller, &ObjectKey::default()).await), "delete pod *2");
    let left: Vec<_> = scene.pods().await.into_iter().map(|pod| pod.metadata.name.unwrap()).collect();
    assert_eq!(left, ["b", "d"]);
    assert_eq!(words(&controller.reconcile(&scene.view().await, &ObjectKey::default())), "");
}

#[tokio::test]
async fn events_of_one_moment_are_named_in_their_order() {
    let scene = Scene::of(&pods(&["a"])).await;
    let pod = scene.pods().await.remove(0);
    let about = Subject::of::<kinds::Pod>(&pod.key(), &pod.metadata);
    let actions = (0..3).map(|number| about.told(false, "Told", number.to_string())).collect();
    scene.carry_out(&Plan { actions, requeue_after: None }).await;
    let mut told = Vec::new();
    while told.len() < 3 {
        tokio::task::yield_now().await;
        told = scene.client.namespaced::<Event>("default").list(ListOptions::default()).await.unwrap().items;
    }
    let messages: Vec<_> = told.iter().filter_map(|event| event.message.as_deref()).collect();
    assert_eq!(messages, ["0", "1", "2"]);
    assert_eq!(told[0].metadata.name.as_deref(), Some("a.18867251edfa0000"), "what Kubernetes would call it");
}

#[tokio::test]
async fn events_go_after_an_hour() {
    let event = |name: &str, last: &str| {
        format!(
            "---\napiVersion: v1\nkind: Event\nmetadata: {{name: {name}}}\ninvolvedObject: {{kind: Pod, name: p, namespace: default}}\nreason: R\ntype: Normal\nlastTimestamp: {last}\n"
        )
    };
    let scene = Scene::of("").await;
    scene.add(&(event("old", "'2026-01-01T00:00:00Z'") + &event("seen-again", "'2026-01-01T00:30:00Z'"))).await;
    let names = async || {
        let all = scene.client.all::<Event>().list(ListOptions::default()).await.unwrap().items;
        all.into_iter().filter_map(|event| event.metadata.name).collect::<Vec<_>>()
    };
    scene.pass(3599);
    assert_eq!(sweep(&scene.client, scene.now()).await.unwrap(), Some(Duration::from_secs(3599)));
    assert_eq!(names().await, ["old", "seen-again"]);
    scene.pass(1);
    assert_eq!(sweep(&scene.client, scene.now()).await.unwrap(), Some(Duration::from_secs(1800)));
    assert_eq!(names().await, ["seen-again"]);
    scene.pass(1800);
    assert_eq!(sweep(&scene.client, scene.now()).await.unwrap(), None);
    assert_eq!(names().await, [""; 0]);
}

/// Who is placed where, and who is parked.
fn turn(ledger: &mut Ledger) -> (Vec<String>, Vec<String>) {
    let batch = ledger.take(100);
    let asks: Vec<_> = batch.iter().map(|pod| (*pod.asks).clone()).collect();
    let placements = place(ledger.snapshot(), &asks);
    placements.bindings.iter().for_each(|binding| drop(ledger.bound(binding)));
    let parked = placements.unplaceable.iter().filter_map(|pod| ledger.park(&pod.pod));
    let parked = parked.map(|pod| pod.key.name.to_string()).collect();
    (placements.bindings.iter().map(|binding| binding.pod.name.to_string()).collect(), parked)
}

#[tokio::test]
async fn the_binder_tries_again_when_something_may_have_made_room() {
    let node = |cpu: &str| fixture::node(NODE, &format!("allocatable: {{cpu: {cpu}, memory: 1Gi, pods: '9'}}"));
    let scene = Scene::of(&node("1")).await;
    scene.add(&pods(&["a"])).await;
    scene.pass(1);
    scene.add(&pods(&["b", "c"])).await;
    let key = |name: &str| ObjectKey::new("default", name);
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut ledger = Ledger::default();
    let view = scene.view().await;
    view.nodes.iter().for_each(|(key, node)| ledger.node_changed(key, Some(node)));
    view.pods.iter().rev().for_each(|(key, pod)| ledger.pod_changed(key, Some(pod)));
    assert_eq!(turn(&mut ledger), (text(&["a"]), text(&["b", "c"])), "the oldest first");
    // Its own condition, a heartbeat, a binding that is not shown yet: nothing that helps.
    let condition = json!([{"type": "PodScheduled", "status": "False", "message": "m"}]);
    scene.status::<kinds::Pod>("b", json!({"conditions": condition})).await;
    let heartbeat = json!([{"type": "Ready", "status": "True"}]);
    scene.status::<kinds::Node>(NODE, json!({"conditions": heartbeat})).await;
    let view = scene.view().await;
    view.nodes.iter().for_each(|(key, node)| ledger.node_changed(key, Some(node)));
    view.pods.iter().for_each(|(key, pod)| ledger.pod_changed(key, Some(pod)));
    assert_eq!(turn(&mut ledger), (text(&[]), text(&[])));
    // A pod that goes: the others get a turn, and the first of them its place.
    ledger.pod_changed(&key("a"), None);
    assert_eq!(turn(&mut ledger), (text(&["b"]), text(&["c"])));
    // A larger node.
    let view = Scene::of(&node("2")).await.view().await;
    view.nodes.iter().for_each(|(key, node)| ledger.node_changed(key, Some(node)));
    assert_eq!(turn(&mut ledger), (text(&["c"]), text(&[])));
    // A binding that failed gets another turn; what is known of bound pods outlives a new reading of everything.
    let mut ledger = ledger.renewed();
    let view = scene.view().await;
    view.pods.iter().for_each(|(key, pod)| ledger.pod_changed(key, Some(pod)));
    assert_eq!(turn(&mut ledger), (text(&[]), text(&["a"])), "b and c count as bound");
    assert!(ledger.take(9).is_empty());
    ledger.again(&key("a"));
    assert_eq!(ledger.take(9).len(), 1);
}
