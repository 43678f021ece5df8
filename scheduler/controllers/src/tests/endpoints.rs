//! Endpoints and EndpointSlices: conditions, ports, and how little one pod's change writes.

use std::collections::BTreeMap;

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::kinds::{EndpointSlice, Endpoints, Kind, Pod, Service};
use wherry_client::{DeleteOptions, ListOptions};

use super::scene::{Scene, words};
use crate::driver::Controller;
use crate::endpoints::ServiceEndpoints;

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, labels: {team: a}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
";

fn key() -> ObjectKey {
    ObjectKey::new("default", "web")
}

fn pod(index: usize) -> String {
    let address = format!("10.128.{}.{}", index / 250, index % 250 + 1);
    wherry_fixture::Pod::named(&format!("p{index:04}"))
        .metadata("labels: {app: web}")
        .spec("nodeName: n1, hostname: h, subdomain: web")
        .container("ports: [{name: http, containerPort: 8080}]")
        .status(&format!("phase: Running, podIP: {address}, conditions: [{{type: Ready, status: 'True'}}]"))
        .to_string()
}

fn pods(count: usize) -> String {
    (0..count).map(pod).collect()
}

async fn slices(scene: &Scene) -> Vec<EndpointSlice> {
    let all = scene.client.namespaced::<EndpointSlice>("default").list(ListOptions::default()).await.unwrap().items;
    all.into_iter().filter(|slice| slice.key().name.starts_with("web-")).collect()
}

async fn sizes(scene: &Scene) -> Vec<usize> {
    let mut sizes: Vec<_> = slices(scene).await.iter().map(|slice| slice.endpoints.iter().flatten().count()).collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
async fn slices_are_full_and_a_pod_keeps_its_place() {
    let scene = Scene::of(&[SERVICE, &pods(250)].concat()).await;
    let plan = scene.step(&ServiceEndpoints, &key()).await;
    assert_eq!(words(&plan), "create endpointslice *3, create endpoints");
    assert_eq!(sizes(&scene).await, [50, 100, 100]);
    scene
        .client
        .namespaced::<Pod>("default")
        .delete("p0007", DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() })
        .await
        .unwrap();
    let plan = scene.step(&ServiceEndpoints, &key()).await;
    assert_eq!(words(&plan), "patch endpointslice, patch endpoints", "one pod goes, one slice is written");
    assert_eq!(sizes(&scene).await, [50, 99, 100]);
    // A new one goes where there is just room for it, and nothing else moves.
    scene.add(&pod(999)).await;
    let plan = scene.step(&ServiceEndpoints, &key()).await;
    assert_eq!(words(&plan), "patch endpointslice, patch endpoints");
    assert_eq!(sizes(&scene).await, [50, 100, 100]);
    assert_eq!(words(&scene.step(&ServiceEndpoints, &key()).await), "", "a second look wants nothing");
}

#[tokio::test]
async fn conditions_tell_ready_serving_and_terminating() {
    let scene = Scene::of(SERVICE).await;
    scene.add(&(pods(2) + &pod(2).replace("'True'", "'False'") + &pod(3).replace("Running", "Succeeded"))).await;
    scene.client.namespaced::<Pod>("default").delete("p0001", DeleteOptions::default()).await.unwrap();
    scene.settle_one(&ServiceEndpoints, &key()).await;
    let shown = |slices: &[EndpointSlice]| -> BTreeMap<String, String> {
        let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let word =
            |value: Option<bool>, word: &str| if value == Some(true) { format!("{word} ") } else { String::new() };
        let one = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            let c = endpoint.conditions.as_ref().unwrap();
            let text = word(c.ready, "ready") + &word(c.serving, "serving") + &word(c.terminating, "terminating");
            (endpoint.target_ref.as_ref().unwrap().name.clone().unwrap(), text.trim().to_owned())
        };
        endpoints.map(one).collect()
    };
    let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let expected = [text("p0000", "ready serving"), text("p0001", "serving terminating"), text("p0002", "")];
    assert_eq!(shown(&slices(&scene).await), BTreeMap::from(expected));
    let endpoints = scene.client.namespaced::<Endpoints>("default").get("web").await.unwrap();
    let subset = &endpoints.subsets.unwrap()[0];
    assert_eq!((subset.addresses.as_ref().unwrap().len(), subset.not_ready_addresses.as_ref().unwrap().len()), (1, 1));
    scene.patch::<Service>("web", json!({"spec": {"publishNotReadyAddresses": true}})).await;
    scene.settle_one(&ServiceEndpoints, &key()).await;
    let expected = [text("p0000", "ready serving"), text("p0001", "ready serving terminating"), text("p0002", "ready")];
    assert_eq!(shown(&slices(&scene).await), BTreeMap::from(expected));
    let slice = &slices(&scene).await[0];
    assert_eq!(slice.metadata.labels.as_ref().unwrap()["team"], "a");
    let endpoint = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!((endpoint.hostname.as_deref(), endpoint.node_name.as_deref()), (Some("h"), Some("n1")));
}

#[tokio::test]
async fn a_named_port_is_each_pods_own() {
    let scene = Scene::of(&[SERVICE, &pods(2)].concat()).await;
    scene.add(&pod(2).replace("8080", "9090")).await;
    scene.add(&pod(3).replace("name: http", "name: other")).await;
    scene.settle_one(&ServiceEndpoints, &key()).await;
    let mut ports: Vec<_> = slices(&scene)
        .await
        .iter()
        .map(|slice| {
            let ports = slice.ports.iter().flatten().map(|port| port.port.unwrap());
            (ports.collect::<Vec<_>>(), slice.endpoints.iter().flatten().count())
        })
        .collect();
    ports.sort();
    assert_eq!(ports, [(vec![], 1), (vec![8080], 2), (vec![9090], 1)]);
    let subsets = scene.client.namespaced::<Endpoints>("default").get("web").await.unwrap().subsets.unwrap();
    assert_eq!(subsets.len(), 2, "a pod that cannot be reached is not there");
}

#[tokio::test]
async fn services_without_pods_selector_or_being() {
    let scene =
        Scene::of(&[SERVICE, "---\n", &SERVICE.replace("web", "own").replace("selector: {app: own}, ", "")].concat())
            .await;
    let plan = scene.step(&ServiceEndpoints, &key()).await;
    assert_eq!(words(&plan), "create endpointslice, create endpoints", "no pods: one empty slice");
    assert_eq!(words(&scene.step(&ServiceEndpoints, &key()).await), "");
    let own = ObjectKey::new("default", "own");
    scene.add("apiVersion: v1\nkind: Endpoints\nmetadata: {name: own}\nsubsets: [{addresses: [{ip: 10.1.1.1}]}]").await;
    assert_eq!(words(&scene.step(&ServiceEndpoints, &own).await), "", "no selector: left alone");
    scene.add(&pods(1)).await;
    scene.settle_one(&ServiceEndpoints, &key()).await;
    assert_eq!(sizes(&scene).await, [1], "the empty slice is used");
    scene.client.namespaced::<Service>("default").delete("web", DeleteOptions::default()).await.unwrap();
    scene.settle_one(&ServiceEndpoints, &key()).await;
    assert!(slices(&scene).await.is_empty());
    let view = scene.view().await;
    assert_eq!(view.endpoints.keys().map(|key| &*key.name).filter(|name| *name == "web").count(), 0);
    assert_eq!(words(&ServiceEndpoints.reconcile(&view, &key())), "");
}

#[tokio::test]
async fn endpoints_are_cut_at_a_thousand() {
    let scene = Scene::of(SERVICE).await;
    scene.add(&pods(1001)).await;
    scene.settle_one(&ServiceEndpoints, &key()).await;
    assert_eq!(sizes(&scene).await.iter().sum::<usize>(), 1001);
    let endpoints = scene.client.namespaced::<Endpoints>("default").get("web").await.unwrap();
    assert_eq!(endpoints.subsets.unwrap()[0].addresses.as_ref().unwrap().len(), 1000);
    assert_eq!(endpoints.metadata.annotations.unwrap()["endpoints.kubernetes.io/over-capacity"], "truncated");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    scene.client.namespaced::<Pod>("default").delete("p0007", now).await.unwrap();
    scene.settle_one(&ServiceEndpoints, &key()).await;
    let endpoints = scene.client.namespaced::<Endpoints>("default").get("web").await.unwrap();
    assert_eq!(endpoints.metadata.annotations.unwrap_or_default().len(), 0);
}
