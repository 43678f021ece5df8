//! All controllers together over the real API in memory; the test plays the kubelet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wherry_api::kinds::{ConfigMap, Deployment, EndpointSlice, Event, Kind, Namespace, Node, Pod, ReplicaSet, Service};
use wherry_apiserver::{Identity, Registry, RegistryConfig};
use wherry_base::{Clock, SystemClock, Trigger};
use wherry_client::{Client, DeleteOptions, Informer, ListOptions};
use wherry_pki::Authority;
use wherry_store::{Limits, Store};

use crate::{ControllersConfig, NodeMonitor, start};

struct Cluster {
    client: Client,
    _tasks: Trigger,
}

async fn cluster() -> Cluster {
    let config = RegistryConfig::default();
    let registry = Registry::new(Store::in_memory(Limits::default()), config, SystemClock::shared());
    registry.bootstrap().await.unwrap();
    let tasks = Trigger::new();
    let config = ControllersConfig {
        authority: Arc::new(Authority::generate("test", SystemClock.now()).unwrap()),
        certificate_life: Duration::from_secs(3600),
        ingress_address: "127.0.0.1".parse().unwrap(),
        nodes: NodeMonitor::default(),
    };
    start(registry.client(Identity::component("controllers")), config, SystemClock::shared(), &tasks.drain());
    let client = registry.client(Identity::admin());
    client.all::<Node>().create(&node()).await.unwrap();
    let pods = Informer::<Arc<Pod>>::spawn(client.all::<Pod>(), "", "", &tasks.drain());
    tasks.drain().spawn(kubelet(client.clone(), pods));
    Cluster { client, _tasks: tasks }
}

fn object<K: Kind>(text: &str) -> K {
    serde_json::from_value(wherry_api::yaml::parse(text).unwrap().remove(0)).unwrap()
}

fn node() -> Node {
    object(
        "metadata: {name: n1}\nstatus: {allocatable: {cpu: '4', memory: 8Gi, pods: '100'}, conditions: [{type: Ready, status: 'True'}]}",
    )
}

/// Makes every bound pod ready, and ends every deleted one.
async fn kubelet(client: Client, pods: Informer<Arc<Pod>>) {
    let mut changes = pods.changes();
    while let Ok(key) = changes.recv().await {
        let Some(pod) = pods.get(&key) else { continue };
        let api = client.namespaced::<Pod>(&key.namespace);
        let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let is_running = pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        if pod.metadata.deletion_timestamp.is_some() {
            let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            drop(api.delete(&key.name, now).await);
        } else if is_bound && !is_running {
            let ip = format!("10.128.0.{}", key.name.bytes().map(u32::from).sum::<u32>() % 250 + 2);
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
            let patch = json!({"status": {"phase": "Running", "podIP": ip, "conditions": ready}});
            drop(api.merge_status(&key.name, &patch).await);
        }
    }
}

/// Asks until it holds; the patience is reached only by a failing test.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    for _ in 0..2000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("gave up waiting until {what}")
}

const WEB: &str = "metadata: {name: web}\nspec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: 'i:1', ports: [{name: http, containerPort: 8080}]}]}}}";

async fn rolled_out(client: &Client, generation: i64) {
    until("the deployment is rolled out", || async {
        let web = client.namespaced::<Deployment>("default").get("web").await.unwrap();
        let status = web.status.unwrap_or_default();
        let wanted = web.spec.unwrap().replicas;
        let is_done = status.observed_generation >= Some(generation)
            && status.updated_replicas == wanted
            && status.available_replicas == wanted
            && status.replicas == wanted;
        is_done.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_lives() {
    let Cluster { client, _tasks } = cluster().await;
    let api = client.namespaced::<Deployment>("default");
    api.create(&object(WEB)).await.unwrap();
    let service = "metadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}";
    client.namespaced::<Service>("default").create(&object(service)).await.unwrap();
    rolled_out(&client, 1).await;
    until("the service has three endpoints", || async {
        let slices = client.namespaced::<EndpointSlice>("default").list(ListOptions::default()).await.unwrap();
        let ready = slices.items.iter().filter(|slice| slice.key().name.starts_with("web-"));
        let ready = ready.flat_map(|slice| slice.endpoints.iter().flatten());
        (ready.filter(|e| e.conditions.as_ref().and_then(|c| c.ready) == Some(true)).count() == 3).then_some(())
    })
    .await;
    let image = json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    api.merge("web", &image).await.unwrap();
    rolled_out(&client, 2).await;
    let sets = client.namespaced::<ReplicaSet>("default").list(ListOptions::default()).await.unwrap().items;
    assert_eq!(sets.len(), 2);
    let revision =
        |d: &Deployment| d.metadata.annotations.clone().unwrap()["deployment.kubernetes.io/revision"].clone();
    assert_eq!(revision(&api.get("web").await.unwrap()), "2");
    api.delete("web", DeleteOptions::default()).await.unwrap();
    until("everything is collected", || async {
        let sets = client.namespaced::<ReplicaSet>("default").list(ListOptions::default()).await.unwrap();
        let pods = client.namespaced::<Pod>("default").list(ListOptions::default()).await.unwrap();
        (sets.items.is_empty() && pods.items.is_empty()).then_some(())
    })
    .await;
}

/// What is well, by who tells of it: of what kind, the reason, the message.
async fn told(client: &Client) -> Vec<(String, String, String)> {
    let events = client.namespaced::<Event>("default").list(ListOptions::default()).await.unwrap().items;
    let line = |event: Event| {
        let source = event.source.unwrap().component.unwrap();
        assert_eq!(event.reporting_component.as_deref(), Some(source.as_str()));
        (format!("{source} {}", event.involved_object.kind.unwrap()), event.reason.unwrap(), event.message.unwrap())
    };
    let mut told: Vec<_> = events.into_iter().filter(|e| e.type_.as_deref() == Some("Normal")).map(line).collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_told_by_its_controller() {
    let Cluster { client, _tasks } = cluster().await;
    client.namespaced::<Deployment>("default").create(&object(&WEB.replace("3", "1"))).await.unwrap();
    let told = until("all is told", || async { Some(told(&client).await).filter(|told| told.len() == 3) }).await;
    let who: Vec<_> = told.iter().map(|(who, reason, _)| (who.as_str(), reason.as_str())).collect();
    assert_eq!(
        who,
        [
            ("default-scheduler Pod", "Scheduled"),
            ("deployment-controller Deployment", "ScalingReplicaSet"),
            ("replicaset-controller ReplicaSet", "SuccessfulCreate"),
        ]
    );
    let bound = &told[0].2;
    assert!(bound.starts_with("Successfully assigned default/web-") && bound.ends_with(" to n1"), "{bound}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_comes_furnished_and_goes_with_all_it_holds() {
    let Cluster { client, _tasks } = cluster().await;
    let namespaces = client.all::<Namespace>();
    namespaces.create(&object("metadata: {name: shop}")).await.unwrap();
    let maps = client.namespaced::<ConfigMap>("shop");
    until("the authority's certificate is there", || async { maps.get("kube-root-ca.crt").await.ok() }).await;
    maps.create(&object("metadata: {name: mine}")).await.unwrap();
    namespaces.delete("shop", DeleteOptions::default()).await.unwrap();
    until("the namespace is gone", || async { namespaces.get("shop").await.is_err().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_place_says_why() {
    let Cluster { client, _tasks } = cluster().await;
    let api = client.namespaced::<Pod>("default");
    let pod = "metadata: {name: lonely}\nspec: {nodeSelector: {planet: mars}, containers: [{name: c, image: i}]}";
    api.create(&object(pod)).await.unwrap();
    let message = until("the pod says why", || async {
        let conditions = api.get("lonely").await.unwrap().status?.conditions?;
        conditions.into_iter().find(|condition| condition.type_ == "PodScheduled")?.message
    })
    .await;
    assert!(message.starts_with("0/1 nodes are available: "), "{message}");
}
