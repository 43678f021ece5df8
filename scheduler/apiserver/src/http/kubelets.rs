//! The way to kubelets: which node has a pod, where that node's endpoints are, which container is meant.
//!
//! A node says itself what its addresses are, and what answers there is believed by its certificate, which must be for the
//! node's name (`docs/adr/0005`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use wherry_api::kinds::{Kind, Node};
use wherry_api::well_known::BEHIND_NAT;
use wherry_api::{Error, Reason};
use wherry_client::{Https, Way};

use super::Context;
use super::offers::Offers;
use crate::registry::Target;

/// How many nodes' connections are kept.
const KUBELETS_MAX: usize = 1024;

/// Connections to kubelets.
#[derive(Clone)]
pub(crate) struct Kubelets {
    tls: Arc<rustls::ClientConfig>,
    /// The ways to those that cannot be connected to.
    pub(crate) offers: Offers,
    known: Arc<Mutex<HashMap<Place, Arc<Https>>>>,
}

/// Which node, where it says that it is, and whether nobody can connect to it there.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    name: String,
    url: String,
    is_hidden: bool,
}

impl Kubelets {
    pub(super) fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls, offers: Offers::default(), known: Arc::default() }
    }

    /// The endpoints of a node.
    pub(super) async fn of(&self, node: &Value) -> Result<Arc<Https>, Error> {
        let place = Place { name: name(node).to_owned(), url: kubelet_url(node)?, is_hidden: is_hidden(node) };
        let way = if place.is_hidden { Some(self.way_to(&place.name).await?) } else { None };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(https) = known.get(&place) {
            return Ok(https.clone());
        }
        let https = Https::named(&place.name, &place.url, (*self.tls).clone(), way);
        let https = Arc::new(https.map_err(|e| Error::new(Reason::InternalError, e.to_string()))?);
        if known.len() >= KUBELETS_MAX {
            known.clear();
        }
        known.insert(place, https.clone());
        Ok(https)
    }

    async fn way_to(&self, name: &str) -> Result<Arc<dyn Way>, Error> {
        let missing = || {
            let message = format!("the node {name} is behind NAT, and keeps no connection to this master at present");
            Error::new(Reason::ServiceUnavailable, message)
        };
        Ok(Arc::new(self.offers.way_to(name).await.ok_or_else(missing)?))
    }
}

/// The endpoints of the node that has a pod of this name.
pub(super) async fn kubelet_of(context: &Context, pod: &Value, name: &str) -> Result<Arc<Https>, Error> {
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        return Err(Error::new(Reason::BadRequest, format!("pod {name} does not have a host assigned")));
    }
    let node = read(context, &Target::new(Node::resource(), None, node))?;
    context.kubelets.of(&node).await
}

/// The object itself.
pub(super) fn read(context: &Context, target: &Target) -> Result<Value, Error> {
    serde_json::from_slice(&context.registry.get(target)?).map_err(|e| Error::new(Reason::InternalError, e.to_string()))
}

/// The named container, or the only one.
pub(super) fn container_of(pod: &Value, name: &str, wanted: &str) -> Result<String, Error> {
    let names = |list: &str| {
        let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        let names = containers.into_iter().flatten().filter_map(|c| c.get("name").and_then(Value::as_str));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    if wanted.is_empty()
        && let [only] = main.as_slice()
    {
        return Ok(only.clone());
    }
    if main.iter().chain(&init).any(|own| own == wanted) {
        return Ok(wanted.to_owned());
    }
    let message = if wanted.is_empty() {
        format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "))
    } else {
        format!("container {wanted} is not valid for pod {name}")
    };
    Err(Error::new(Reason::BadRequest, message))
}

fn name(node: &Value) -> &str {
    node.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Whether nobody can connect to a node.
fn is_hidden(node: &Value) -> bool {
    let labels = node.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(BEHIND_NAT)).is_some_and(|value| value == "true")
}

/// Where a node's endpoints are.
fn kubelet_url(node: &Value) -> Result<String, Error> {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let internal =
        addresses.into_iter().flatten().find(|a| a.get("type").and_then(Value::as_str) == Some("InternalIP"));
    let address = internal.and_then(|a| a.get("address")).and_then(Value::as_str);
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    match (address, port) {
        (Some(address), Some(port)) => Ok(format!("https://{address}:{port}")),
        _ => Err(Error::new(Reason::ServiceUnavailable, "the pod's node has not said where its endpoints are")),
    }
}
