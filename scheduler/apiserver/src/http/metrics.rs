//! `metrics.k8s.io/v1beta1`: what nodes and pods use at present, as `kubectl top` and autoscalers ask, without a metrics-server.
//!
//! Nothing is stored: the kubelets are asked when somebody asks, and their answers are good for as long as metrics-server's.

mod sample;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use wherry_api::kinds::{Kind, Node, Pod};
use wherry_api::{Error, Reason, Resource};
use wherry_client::ListOptions;

use super::parameters::Parameters;
use super::verbs::not_allowed;
use super::{Context, encode};
use crate::authorize::administer;
use crate::identity::Identity;
use sample::{Sample, Usage};

/// The group; it has one version.
pub(super) const GROUP: &str = "metrics.k8s.io";
/// Its version.
pub(super) const VERSION: &str = "v1beta1";
/// Where its objects are.
const ROOT: &str = "/apis/metrics.k8s.io/v1beta1/";
/// How old an answer of a kubelet may be: metrics-server's resolution.
const RESOLUTION: Duration = Duration::from_secs(15);
/// How long a kubelet may take over its answer; of one that takes longer, nothing is said.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many kubelets are asked at once.
const ASKED_MAX: usize = 64;

/// What kubelets have answered last, by node.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<HashMap<String, Arc<Known>>>>);

/// Held while the kubelet is asked: once for all that wait.
type Known = tokio::sync::Mutex<Option<(Instant, Arc<Sample>)>>;

/// What is asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    resource: &'static Resource,
    namespace: Option<&'a str>,
    name: &'a str,
}

/// The objects at a path of the group; `None` where the path is none.
pub(super) async fn answer(
    context: &Context,
    identity: &Identity,
    path: &str,
    method: &Method,
    (query, headers): (&str, &HeaderMap),
) -> Option<Result<Response, Error>> {
    let rest = path.strip_prefix(ROOT)?;
    let rest: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let asked = asked(&rest)?;
    let answered = async {
        administer(identity, "metrics")?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(not_allowed());
        }
        encode::check_acceptable(headers)?;
        let body = context.measured(asked, &Parameters::parse(query)).await?;
        Ok(encode::json(StatusCode::OK, Bytes::from(body.to_string()), &[]))
    };
    Some(answered.await)
}

fn asked<'a>(rest: &[&'a str]) -> Option<Asked<'a>> {
    let (nodes, pods) = (Node::resource(), Pod::resource());
    match *rest {
        ["nodes"] => Some(Asked { resource: nodes, namespace: None, name: "" }),
        ["nodes", name] => Some(Asked { resource: nodes, namespace: None, name }),
        ["pods"] => Some(Asked { resource: pods, namespace: None, name: "" }),
        ["namespaces", namespace, "pods"] => Some(Asked { resource: pods, namespace: Some(namespace), name: "" }),
        ["namespaces", namespace, "pods", name] => Some(Asked { resource: pods, namespace: Some(namespace), name }),
        _ => None,
    }
}

impl Context {
    async fn measured(&self, asked: Asked<'_>, parameters: &Parameters) -> Result<Value, Error> {
        let Asked { resource, namespace, name } = asked;
        let (labels, mut fields) = (parameters.get("labelSelector"), parameters.get("fieldSelector").to_owned());
        if !name.is_empty() {
            fields = format!("metadata.name={name}");
        }
        let options = ListOptions { labels: labels.to_owned(), fields, ..ListOptions::default() };
        let objects = self.objects(resource, namespace, &options)?;
        let nodes = if is_of_nodes(resource) { objects.clone() } else { self.nodes_of(&objects)? };
        let samples = self.samples(nodes).await;
        let mut items = objects.iter().filter_map(|object| item(resource, object, &samples));
        if name.is_empty() {
            let kind = format!("{}MetricsList", resource.kind);
            let items: Vec<Value> = items.collect();
            return Ok(
                json!({"kind": kind, "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": {}, "items": items}),
            );
        }
        let missing = || {
            let message = format!("{}metrics.{GROUP} \"{name}\" not found", resource.singular);
            Error::new(Reason::NotFound, message).about(GROUP, resource.plural, name)
        };
        items.next().ok_or_else(missing)
    }

    fn objects(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Vec<Value>, Error> {
        let page = self.registry.list(resource, namespace, options)?;
        Ok(page.entries.iter().filter_map(|(_, entry)| serde_json::from_slice(&entry.json).ok()).collect())
    }

    /// The nodes that have any of these pods.
    fn nodes_of(&self, pods: &[Value]) -> Result<Vec<Value>, Error> {
        let mut nodes = self.objects(Node::resource(), None, &ListOptions::default())?;
        nodes.retain(|node| {
            let name = text(node, "/metadata/name");
            pods.iter().any(|pod| text(pod, "/spec/nodeName") == name)
        });
        Ok(nodes)
    }

    /// What the kubelets of these nodes say, by node; nothing of those that do not answer.
    async fn samples(&self, nodes: Vec<Value>) -> HashMap<String, Arc<Sample>> {
        let asked = stream::iter(nodes).map(|node| {
            let context = self.clone();
            async move { context.answered(&node).await }
        });
        asked.buffer_unordered(ASKED_MAX).filter_map(async |found| found).collect().await
    }

    async fn answered(&self, node: &Value) -> Option<(String, Arc<Sample>)> {
        let name = text(node, "/metadata/name");
        let sample = tokio::time::timeout(PATIENCE, self.sample(name, node)).await;
        match sample.unwrap_or_else(|_| Err(Error::new(Reason::Timeout, "it takes too long"))) {
            Ok(sample) => Some((name.to_owned(), sample)),
            Err(error) => {
                tracing::debug!(node = name, %error, "a node does not say what it uses");
                None
            }
        }
    }

    async fn sample(&self, name: &str, node: &Value) -> Result<Arc<Sample>, Error> {
        let known = self.metrics.known(name);
        let mut known = known.lock().await;
        if let Some((at, sample)) = known.as_ref()
            && at.elapsed() < RESOLUTION
        {
            return Ok(Arc::clone(sample));
        }
        let kubelet = self.kubelets.of(node).await?;
        let sample = Arc::new(Sample::read(kubelet.stream("/stats/summary").await?).await?);
        *known = Some((Instant::now(), Arc::clone(&sample)));
        Ok(sample)
    }
}

impl Metrics {
    /// What is known of a node; of those that nobody has asked about lately, nothing is kept.
    fn known(&self, node: &str) -> Arc<Known> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(node) {
            let is_old = |known: &Option<(Instant, _)>| known.as_ref().is_none_or(|(at, _)| at.elapsed() >= RESOLUTION);
            all.retain(|_, known| known.try_lock().is_ok_and(|known| !is_old(&known)) || Arc::strong_count(known) > 1);
        }
        Arc::clone(all.entry(node.to_owned()).or_default())
    }
}

fn is_of_nodes(resource: &Resource) -> bool {
    std::ptr::eq(resource, Node::resource())
}

/// What is said of a node or a pod; nothing where that is not known.
fn item(resource: &Resource, object: &Value, samples: &HashMap<String, Arc<Sample>>) -> Option<Value> {
    let mut item = json!({
        "kind": format!("{}Metrics", resource.kind),
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": metadata(object),
        "window": format!("{}s", RESOLUTION.as_secs()),
    });
    let map = item.as_object_mut()?;
    if is_of_nodes(resource) {
        let sample = samples.get(text(object, "/metadata/name"))?;
        map.insert("timestamp".into(), sample.time.clone().into());
        map.insert("usage".into(), usage(sample.node?));
    } else {
        let sample = samples.get(text(object, "/spec/nodeName"))?;
        let containers = sample.pods.get(text(object, "/metadata/uid"))?;
        let containers: Option<Vec<Value>> =
            containers.iter().map(|(name, used)| Some(json!({"name": name, "usage": usage((*used)?)}))).collect();
        map.insert("timestamp".into(), sample.time.clone().into());
        map.insert("containers".into(), containers.filter(|all| !all.is_empty())?.into());
    }
    Some(item)
}

fn metadata(object: &Value) -> Value {
    let fields = ["name", "namespace", "labels", "creationTimestamp"];
    let found = fields.into_iter().filter_map(|field| Some((field, object.get("metadata")?.get(field)?)));
    Value::Object(found.map(|(field, value)| (field.to_owned(), value.clone())).collect::<Map<_, _>>())
}

fn usage(used: Usage) -> Value {
    json!({"cpu": format!("{}n", used.nano_cores), "memory": format!("{}Ki", used.memory_bytes / 1024)})
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
