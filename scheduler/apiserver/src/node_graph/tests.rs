//! The graph as data; then what nodes are given while pods come, are bound, change and go.

use serde_json::{Value, json};
use wherry_api::kinds::{ConfigMap, Secret};
use wherry_api::{Error, Reason};
use wherry_base::SystemClock;
use wherry_client::{Client, DeleteOptions, ListOptions};
use wherry_store::{Limits, Store};

use super::*;
use crate::identity::Identity;
use crate::registry::{Registry, RegistryConfig};

/// A user as `NODE: NAME…`, all of them Secrets of one namespace; the node `*` is all nodes.
fn user(line: &str) -> User {
    let (node, names) = line.split_once(':').unwrap();
    let refers = names.split_whitespace().map(|name| (Referent::Secret, ObjectKey::new("a", name))).collect();
    User { node: if node == "*" { EVERY_NODE } else { node }.into(), refers }
}

#[test]
fn an_object_is_referred_to_as_long_as_anybody_does() {
    let mut graph = Graph::default();
    let refers =
        |graph: &Graph, node: &str, name: &str| graph.refers(node, Referent::Secret, &ObjectKey::new("a", name));
    for line in ["n: x y", "n: x", "m: y", "*: z"] {
        graph.add(&user(line));
    }
    let found: Vec<bool> = [("n", "x"), ("m", "x"), ("m", "y"), ("o", "z"), ("o", "y")]
        .map(|(node, name)| refers(&graph, node, name))
        .into();
    assert_eq!(found, [true, false, true, true, false]);
    assert!(!graph.refers("n", Referent::ConfigMap, &ObjectKey::new("a", "x")));
    assert!(!graph.refers("n", Referent::Secret, &ObjectKey::new("b", "x")));
    graph.remove(&user("n: x"));
    assert!(refers(&graph, "n", "x"), "the other pod refers to it still");
    graph.remove(&user("n: x y"));
    assert!(!refers(&graph, "n", "x") && refers(&graph, "m", "y"));
    graph.remove(&user("m: y"));
    graph.remove(&user("*: z"));
    assert_eq!(graph, Graph::default(), "nothing is left of those that are gone");
}

struct Cluster {
    registry: Registry,
    admin: Client,
}

impl Cluster {
    async fn start() -> Self {
        let store = Store::in_memory(Limits::default());
        let registry = Registry::new(store, RegistryConfig::default(), SystemClock::shared());
        registry.bootstrap().await.unwrap();
        let admin = registry.client(Identity::admin());
        Self { registry, admin }
    }

    async fn create<K: Kind>(&self, object: Value) {
        self.admin.namespaced::<K>("default").create(&serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// A pod that refers to a Secret, unless that is empty.
    async fn pod(&self, name: &str, node: Option<&str>, secret: &str) {
        let from = if secret.is_empty() { json!([]) } else { json!([{"secretRef": {"name": secret}}]) };
        let containers = json!([{"name": "c", "image": "i", "envFrom": from}]);
        self.create::<Pod>(json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": containers}}))
            .await;
    }

    async fn delete(&self, pod: &str) {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        self.admin.namespaced::<Pod>("default").delete(pod, options).await.unwrap();
    }

    fn node(&self, name: &str) -> Client {
        self.registry.client(Identity::node(name))
    }

    /// `yes`, `no`, or `none` where it may, but there is none.
    async fn reads<K: Kind>(&self, node: &str, name: &str) -> &'static str {
        told(&self.node(node).namespaced::<K>("default").get(name).await)
    }
}

fn told<T>(outcome: &Result<T, Error>) -> &'static str {
    match outcome.as_ref().map_err(|error| error.reason) {
        Ok(_) => "yes",
        Err(Reason::Forbidden) => "no",
        Err(Reason::NotFound) => "none",
        Err(_) => "another error",
    }
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to() {
    let cluster = Cluster::start().await;
    for name in ["s", "t"] {
        cluster.create::<Secret>(json!({"metadata": {"name": name}})).await;
    }
    assert_eq!(cluster.reads::<Secret>("n", "s").await, "no");
    cluster.pod("first", Some("n"), "s").await;
    assert_eq!(cluster.reads::<Secret>("n", "s").await, "yes");
    assert_eq!(cluster.reads::<Secret>("m", "s").await, "no");
    assert_eq!(cluster.reads::<ConfigMap>("n", "s").await, "no");
    cluster.pod("second", None, "t").await;
    assert_eq!(cluster.reads::<Secret>("n", "t").await, "no", "it is not bound");
    let binding = json!({"target": {"name": "n"}});
    cluster.admin.namespaced::<Pod>("default").post("second", "binding", &binding).await.unwrap();
    assert_eq!(cluster.reads::<Secret>("n", "t").await, "yes");
    cluster.pod("third", Some("n"), "missing").await;
    assert_eq!(cluster.reads::<Secret>("n", "missing").await, "none");
    let secrets = cluster.node("n").namespaced::<Secret>("default");
    let named = |fields: &str| ListOptions { fields: fields.to_owned(), ..ListOptions::default() };
    assert_eq!(secrets.list(named("metadata.name=s")).await.unwrap().items.len(), 1);
    assert_eq!(told(&secrets.list(ListOptions::default()).await), "no");
    cluster.delete("first").await;
    assert_eq!(cluster.reads::<Secret>("n", "s").await, "no");
    cluster.pod("first", Some("m"), "s").await;
    assert_eq!((cluster.reads::<Secret>("n", "s").await, cluster.reads::<Secret>("m", "s").await), ("no", "yes"));
}

#[tokio::test]
async fn every_node_reads_the_certificates_of_ingresses_and_no_other_secrets() {
    let cluster = Cluster::start().await;
    let data = json!({"tls.crt": "", "tls.key": ""});
    let tls = json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": data});
    cluster.create::<Secret>(tls).await;
    cluster.create::<Secret>(json!({"metadata": {"name": "other"}})).await;
    let secrets = cluster.node("n").namespaced::<Secret>("default");
    let found = async |fields: &str| {
        let listed = secrets.list(ListOptions { fields: fields.to_owned(), ..ListOptions::default() }).await;
        listed.map_or_else(|error| format!("{:?}", error.reason), |list| list.items.len().to_string())
    };
    let ingress = |secret: &str| {
        let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
        json!({"metadata": {"name": "i"}, "spec": {"tls": [{"secretName": secret}], "defaultBackend": backend}})
    };
    let of_tls = "metadata.name=s,type=kubernetes.io/tls";
    assert_eq!(found(of_tls).await, "Forbidden");
    cluster.create::<Ingress>(ingress("s")).await;
    assert_eq!(found(of_tls).await, "1");
    assert_eq!(found("metadata.name=s").await, "Forbidden", "it might be of another type");
    let ingresses = cluster.admin.namespaced::<Ingress>("default");
    ingresses.merge("i", &ingress("other")).await.unwrap();
    assert_eq!(found(of_tls).await, "Forbidden");
    assert_eq!(found("metadata.name=other,type=kubernetes.io/tls").await, "0", "it is of another type");
    assert_eq!(found("metadata.name=other,type=Opaque").await, "Forbidden");
    // What a pod refers to is read in either way.
    cluster.pod("p", Some("n"), "s").await;
    assert_eq!((found(of_tls).await, found("metadata.name=s").await), ("1".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn a_node_writes_of_its_own_pods_only() {
    let cluster = Cluster::start().await;
    cluster.pod("own", Some("n"), "").await;
    cluster.pod("others", Some("m"), "").await;
    cluster.pod("free", None, "").await;
    let pods = cluster.node("n").namespaced::<Pod>("default");
    for (pod, expected) in [("own", "yes"), ("others", "no"), ("free", "no"), ("missing", "none")] {
        assert_eq!(told(&pods.get(pod).await), expected, "get {pod}");
        let patch = json!({"status": {"phase": "Running"}});
        assert_eq!(told(&pods.merge_status(pod, &patch).await), expected, "patch the status of {pod}");
        let eviction = json!({"metadata": {"name": pod}, "deleteOptions": {"dryRun": ["All"]}});
        assert_eq!(told(&pods.post(pod, "eviction", &eviction).await), expected, "evict {pod}");
        assert_eq!(told(&pods.delete(pod, DeleteOptions::default()).await), expected, "delete {pod}");
    }
}

#[tokio::test]
async fn a_node_steers_no_pods_to_itself() {
    let cluster = Cluster::start().await;
    let nodes = cluster.node("n").all::<wherry_api::kinds::Node>();
    let node = json!({"metadata": {"name": "n"}});
    nodes.create(&serde_json::from_value(node).unwrap()).await.unwrap();
    let refused = nodes.merge("n", &json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}})).await;
    let message = "nodes \"n\" is forbidden: node \"n\" is not allowed to modify taints";
    assert_eq!(refused.unwrap_err().to_string(), message);
    assert_eq!(told(&nodes.merge("n", &json!({"metadata": {"labels": {"disk": "fast"}}})).await), "yes");
    assert_eq!(told(&nodes.delete("n", DeleteOptions::default()).await), "no");
}
