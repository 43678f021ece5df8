//! The verbs over a store in memory, through the in-process client: what a controller or a node sees.

use futures::StreamExt;
use serde_json::json;
use wherry_api::kinds::{
    ConfigMap, Deployment, Ingress, IngressClass, Kind, Namespace, Node, Pod, PodDisruptionBudget, Service,
};
use wherry_api::{Error, Reason};
use wherry_base::SystemClock;
use wherry_client::{Client, DeleteOptions, Event, ListOptions, WatchOptions};
use wherry_store::{Limits, Store};

use super::*;

async fn cluster() -> Client {
    let config = RegistryConfig::default();
    let registry = Registry::new(Store::in_memory(Limits::default()), config, SystemClock::shared());
    registry.bootstrap().await.unwrap();
    registry.bootstrap().await.unwrap();
    registry.client(Identity::admin())
}

fn object<K: Kind>(text: &str) -> K {
    serde_json::from_value(wherry_api::yaml::parse(text).unwrap().remove(0)).unwrap()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    object(&format!("metadata: {{name: {name}, labels: {{v: {value}}}}}\ndata: {{key: {value}}}"))
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Reason {
    outcome.unwrap_err().reason
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let api = cluster().await.namespaced::<ConfigMap>("default");
    let created = api.create(&config_map("a", "one")).await.unwrap();
    assert!(created.metadata.uid.is_some() && created.metadata.creation_timestamp.is_some());
    assert_eq!(reason(api.create(&config_map("a", "one")).await), Reason::AlreadyExists);
    let changed = api.merge("a", &json!({"data": {"key": "two"}})).await.unwrap();
    assert!(changed.metadata.resource_version > created.metadata.resource_version);
    assert_eq!(reason(api.update(&created).await), Reason::Conflict);
    let same = api.merge("a", &json!({"data": {"key": "two"}})).await.unwrap();
    assert_eq!(same.metadata.resource_version, changed.metadata.resource_version, "no change writes nothing");
    api.delete("a", DeleteOptions::default()).await.unwrap();
    assert_eq!(reason(api.get("a").await), Reason::NotFound);
}

#[tokio::test]
async fn an_ingress_without_a_class_gets_the_default() {
    let client = cluster().await;
    let (classes, ingresses) = (client.all::<IngressClass>(), client.namespaced::<Ingress>("default"));
    let class_of = async |meta: &str, spec: &str| {
        let ingress = format!(
            "metadata: {{generateName: i-, {meta}}}\nspec: {{{spec} defaultBackend: {{service: {{name: s, port: {{number: 80}}}}}}}}"
        );
        ingresses.create(&object(&ingress)).await.unwrap().spec.unwrap().ingress_class_name
    };
    let default = "annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}";
    assert_eq!(class_of("", "").await.as_deref(), Some("wherry"));
    assert_eq!(class_of("", "ingressClassName: other,").await.as_deref(), Some("other"));
    assert_eq!(class_of("annotations: {kubernetes.io/ingress.class: other}", "").await, None);
    // Of the same second, or newer: before "wherry" either way.
    let another = format!("metadata: {{name: another, {default}}}\nspec: {{controller: example.com/c}}");
    classes.create(&object(&another)).await.unwrap();
    assert_eq!(class_of("", "").await.as_deref(), Some("another"));
    for name in ["another", "wherry"] {
        classes.merge(name, &json!({"metadata": {"annotations": null}})).await.unwrap();
    }
    assert_eq!(class_of("", "").await, None);
}

#[tokio::test]
async fn lists_come_in_pages_and_by_labels() {
    let client = cluster().await;
    let api = client.namespaced::<ConfigMap>("default");
    for index in 0..5 {
        api.create(&config_map(&format!("c{index}"), if index < 3 { "one" } else { "two" })).await.unwrap();
    }
    let mut names = Vec::new();
    let mut continue_token = String::new();
    loop {
        let page = api.list(ListOptions { limit: 2, continue_token, ..ListOptions::default() }).await.unwrap();
        names.extend(page.items.iter().map(|item| item.key().name.to_string()));
        continue_token = page.continue_token;
        if continue_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);
    let chosen = api.list(ListOptions { labels: "v notin (one)".into(), ..ListOptions::default() }).await.unwrap();
    assert_eq!(chosen.items.len(), 2);
    let unknown = ListOptions { fields: "spec.frob=1".into(), ..ListOptions::default() };
    assert_eq!(reason(api.list(unknown).await), Reason::BadRequest);
}

#[tokio::test]
async fn a_watch_sees_objects_enter_and_leave_its_selector() {
    let api = cluster().await.namespaced::<ConfigMap>("default");
    let mut watch = api.watch(WatchOptions { labels: "v=in".into(), ..WatchOptions::default() }).await.unwrap();
    api.create(&config_map("a", "out")).await.unwrap();
    api.merge("a", &json!({"metadata": {"labels": {"v": "in"}}})).await.unwrap();
    api.merge("a", &json!({"metadata": {"labels": {"v": "out"}}})).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        match watch.next().await.unwrap().unwrap() {
            Event::Applied(map) => seen.push(format!("applied {}", map.metadata.labels.unwrap()["v"])),
            Event::Deleted(_) => seen.push("deleted".into()),
            Event::Bookmark(_) => {}
        }
    }
    assert_eq!(seen, ["applied in", "deleted"]);
}

#[tokio::test]
async fn finalizers_keep_an_object_until_they_are_gone() {
    let api = cluster().await.namespaced::<ConfigMap>("default");
    let mut map = config_map("a", "one");
    map.metadata.finalizers = Some(vec!["example.com/wait".into()]);
    api.create(&map).await.unwrap();
    api.delete("a", DeleteOptions::default()).await.unwrap();
    assert!(api.get("a").await.unwrap().metadata.deletion_timestamp.is_some());
    api.merge("a", &json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert_eq!(reason(api.get("a").await), Reason::NotFound);
}

#[tokio::test]
async fn a_bound_pod_goes_when_its_node_says_so() {
    let api = cluster().await.namespaced::<Pod>("default");
    let pod: Pod = object("metadata: {generateName: web-}\nspec: {containers: [{name: c, image: i}]}");
    let name = api.create(&pod).await.unwrap().key().name.to_string();
    assert!(name.starts_with("web-") && name.len() == 9);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    api.post(&name, "binding", &binding).await.unwrap();
    assert_eq!(reason(api.post(&name, "binding", &binding).await), Reason::Conflict);
    let bound = api.get(&name).await.unwrap();
    assert_eq!(bound.spec.unwrap().node_name.as_deref(), Some("n1"));
    let conditions = bound.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|condition| condition.type_ == "PodScheduled" && condition.status == "True"));
    api.delete(&name, DeleteOptions::default()).await.unwrap();
    assert_eq!(api.get(&name).await.unwrap().metadata.deletion_grace_period_seconds, Some(30));
    api.merge_status(&name, &json!({"status": {"phase": "Running"}})).await.unwrap();
    api.delete(&name, DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() }).await.unwrap();
    assert_eq!(reason(api.get(&name).await), Reason::NotFound);
}

#[tokio::test]
async fn services_get_addresses_once() {
    let api = cluster().await.namespaced::<Service>("default");
    let service = |name: &str, more: &str| -> Service {
        object(&format!("metadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]{more}}}"))
    };
    let address = |service: &Service| service.spec.clone().unwrap().cluster_ip.unwrap();
    assert_eq!(address(&api.get("kubernetes").await.unwrap()), "10.96.0.1");
    let first = api.create(&service("a", "")).await.unwrap();
    let second = api.create(&service("b", ", type: NodePort")).await.unwrap();
    assert_ne!(address(&first), address(&second));
    let port = second.spec.clone().unwrap().ports.unwrap()[0].node_port.unwrap();
    let clash = object::<Service>(&format!(
        "metadata: {{name: c}}\nspec: {{type: NodePort, ports: [{{port: 80, nodePort: {port}}}]}}"
    ));
    assert_eq!(reason(api.create(&clash).await), Reason::Invalid);
    let headless = api.create(&service("d", ", clusterIP: None")).await.unwrap();
    assert_eq!(address(&headless), "None");
    let kept = api.update(&service("a", ", selector: {x: z}")).await.unwrap();
    assert_eq!(address(&kept), address(&first));
}

#[tokio::test]
async fn a_terminating_namespace_takes_nothing_new() {
    let client = cluster().await;
    let namespaces = client.all::<Namespace>();
    namespaces.create(&object("metadata: {name: a}")).await.unwrap();
    namespaces.delete("a", DeleteOptions::default()).await.unwrap();
    let status = namespaces.get("a").await.unwrap().status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Terminating"));
    let inside = client.namespaced::<ConfigMap>("a");
    assert_eq!(reason(inside.create(&config_map("x", "one")).await), Reason::Forbidden);
    let nowhere = client.namespaced::<ConfigMap>("b");
    assert_eq!(reason(nowhere.create(&config_map("x", "one")).await), Reason::NotFound);
    namespaces.post("a", "finalize", &json!({})).await.unwrap_err();
}

#[tokio::test]
async fn a_deployment_is_scaled_through_its_scale() {
    let client = cluster().await;
    let api = client.namespaced::<Deployment>("default");
    let deployment = object::<Deployment>(
        "metadata: {name: web}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}",
    );
    api.create(&deployment).await.unwrap();
    let request = wherry_client::Request {
        resource: Deployment::resource(),
        namespace: Some("default".into()),
        name: "web".into(),
        subresource: "scale",
        verb: wherry_client::Verb::Patch(wherry_client::PatchKind::Merge, r#"{"spec":{"replicas":5}}"#.into()),
    };
    client.transport().send(request).await.unwrap();
    assert_eq!(api.get("web").await.unwrap().spec.unwrap().replicas, Some(5));
}

#[tokio::test]
async fn no_two_nodes_have_one_range() {
    let nodes = cluster().await.all::<Node>();
    let node = |name: &str, spec: &str| object::<Node>(&format!("metadata: {{name: {name}}}\n{spec}"));
    let range = |node: &Node| node.spec.clone().unwrap().pod_cidr.unwrap();
    let first = nodes.create(&node("a", "")).await.unwrap();
    let second = nodes.create(&node("b", "spec: {podCIDR: 10.128.64.0/18}")).await.unwrap();
    let third = nodes.create(&node("c", "")).await.unwrap();
    assert_eq!([&first, &second, &third].map(range), ["10.128.0.0/18", "10.128.64.0/18", "10.128.128.0/18"]);
    assert_eq!(first.spec.unwrap().pod_cidrs.unwrap(), ["10.128.0.0/18"]);
    let error = nodes.create(&node("d", "spec: {podCIDR: 10.128.0.0/24}")).await.unwrap_err();
    assert!(error.to_string().contains("overlaps the range of node \"a\""), "{error}");
    assert_eq!(reason(nodes.create(&node("d", "spec: {podCIDR: x}")).await), Reason::Invalid);
    nodes.delete("a", DeleteOptions::default()).await.unwrap();
    assert_eq!(range(&nodes.create(&node("d", "")).await.unwrap()), "10.128.0.0/18", "free again");
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let client = cluster().await;
    let (pods, budgets) = (client.namespaced::<Pod>("default"), client.namespaced::<PodDisruptionBudget>("default"));
    for name in ["a", "b", "unready"] {
        let pod =
            format!("metadata: {{name: {name}, labels: {{app: web}}}}\nspec: {{containers: [{{name: c, image: i}}]}}");
        pods.create(&object(&pod)).await.unwrap();
        let ready = if name == "unready" { "False" } else { "True" };
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        pods.merge_status(name, &status).await.unwrap();
    }
    let evict = async |name: &str| pods.post(name, "eviction", &json!({"metadata": {"name": name}})).await;
    budgets
        .create(&object("metadata: {name: web}\nspec: {minAvailable: 1, selector: {matchLabels: {app: web}}}"))
        .await
        .unwrap();
    // The budget's controller has not said yet what it allows.
    let error = evict("a").await.unwrap_err();
    assert_eq!((error.reason, error.retry_after_seconds), (Reason::TooManyRequests, Some(10)));
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 3,
    }});
    budgets.merge_status("web", &status).await.unwrap();
    evict("unready").await.unwrap();
    evict("a").await.unwrap();
    let left = budgets.get("web").await.unwrap().status.unwrap();
    assert_eq!(left.disruptions_allowed, Some(0));
    assert_eq!(left.disrupted_pods.unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(reason(pods.get("a").await), Reason::NotFound);
    let error = evict("b").await.unwrap_err();
    assert_eq!(error.to_string(), "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(error.causes[0].message, "The disruption budget web needs 1 healthy pods and has 2 currently");
    let second = "metadata: {name: other}\nspec: {minAvailable: 0, selector: {matchLabels: {app: web}}}";
    budgets.create(&object(second)).await.unwrap();
    assert_eq!(reason(evict("b").await), Reason::InternalError);
}

#[tokio::test]
async fn a_namespace_says_what_pods_may_ask_of_their_machine() {
    let client = cluster().await;
    let namespaces = client.all::<Namespace>();
    let level = |mode: &str, level: &str| json!({"metadata": {"labels": {format!("pod-security.kubernetes.io/{mode}"): level}}});
    let pods = client.namespaced::<Pod>("default");
    let pod = |name: &str| -> Pod {
        object(&format!(
            "metadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: i, securityContext: {{privileged: true}}}}]}}"
        ))
    };
    let error = pods.create(&pod("a")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden);
    assert_eq!(
        error.to_string(),
        "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
         securityContext.privileged=true)"
    );
    assert_eq!(reason(namespaces.merge("default", &level("enforce", "any")).await), Reason::Invalid);
    namespaces.merge("default", &level("enforce", "privileged")).await.unwrap();
    pods.create(&pod("a")).await.unwrap();
    namespaces.merge("default", &level("enforce", "restricted")).await.unwrap();
    let plain: Pod = object("metadata: {name: b}\nspec: {containers: [{name: c, image: i}]}");
    assert_eq!(reason(pods.create(&plain).await), Reason::Forbidden);
    // Those that are there already may change.
    pods.merge("a", &json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
}
