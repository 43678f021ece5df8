//! The API on the wire, request by request: what client-go, kubectl and curl send, and what comes back.

mod answers;
mod hostile;
mod lists;
mod protobuf;
mod raw;
mod watches;
mod writes;

use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wherry_client::{Https, Kubeconfig};
use wherry_tests::{Cluster, Ports, play};

use crate::WHERRY;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

#[test]
fn the_api_on_the_wire() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let world = World::of(&cluster);
    play(&[
        ("bodies in protobuf", &|| protobuf::bodies(&world)),
        ("watches of every kind", &|| watches::every_kind(&world)),
        ("watches that go on", &|| watches::resumed(&world)),
        ("watches through selectors", &|| watches::selected(&world)),
        ("lists in pages", &|| lists::pages(&world)),
        ("lists at a revision", &|| lists::revisions(&world)),
        ("field selectors", &|| lists::fields(&world)),
        ("what must hold", &|| writes::preconditions(&world)),
        ("how objects go", &|| writes::deletions(&world)),
        ("dry runs", &|| writes::dry_runs(&world)),
        ("unknown fields", &|| writes::field_validation(&world)),
        ("status, scale, binding", &|| writes::subresources(&world)),
        ("what never changes", &|| writes::immutable(&world)),
        ("forms of answers", &|| answers::forms(&world)),
        ("discovery", &|| answers::discovery(&world)),
        ("errors", &|| answers::errors(&world)),
    ]);
}

/// After a restart there is no history from before it.
#[test]
fn what_is_too_old_is_gone() {
    let mut cluster = Cluster::start(WHERRY).unwrap();
    let world = World::of(&cluster);
    let maps = format!("{}/configmaps", world.namespace("old"));
    for name in ["a", "b", "c"] {
        world.create(&maps, &config_map(name, "1"));
    }
    let page = world.get(&format!("{maps}?labelSelector=v&limit=1")).expect(200);
    world.delete(&format!("{maps}/b"), &json!({})).expect(200);
    cluster.terminate().unwrap();
    cluster.restart().unwrap();
    let world = World::of(&cluster);
    lists::expired(&world, &maps, &page.body);
    let old = page.version();
    world.get(&format!("{maps}?watch=1&resourceVersion={old}")).refused(410, "Expired");
    world.get(&format!("{maps}?resourceVersion={old}&resourceVersionMatch=Exact")).refused(410, "Expired");
    world.get(&format!("{maps}?resourceVersion={old}")).expect(200);
}

#[test]
fn hostile_clients() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let world = World::of(&cluster);
    play(&[
        ("bodies", &|| hostile::bodies(&world)),
        ("selectors and numbers", &|| hostile::queries(&world)),
        ("objects of extremes", &|| hostile::objects(&world)),
        ("what never ends", &|| hostile::endless(&world)),
        ("silence", &|| hostile::silent(&world)),
        ("who does not read", &|| hostile::deaf(&world)),
        ("YAML bombs", &|| hostile::yaml(&world, &cluster)),
    ]);
    hostile::nothing_changed(&world);
    hostile::crowd(&world);
}

/// A cluster, and an administrator's connection to its API.
struct World {
    https: Https,
    kubeconfig: Kubeconfig,
    ports: Ports,
    process: u32,
    runtime: Runtime,
}

/// An answer.
struct Told {
    status: u16,
    warnings: Vec<String>,
    content_type: String,
    body: Value,
}

impl World {
    fn of(cluster: &Cluster) -> Self {
        let kubeconfig = Kubeconfig::load(&cluster.kubeconfig()).unwrap();
        let https = Https::new(&kubeconfig).unwrap();
        Self {
            https,
            kubeconfig,
            ports: cluster.ports().unwrap(),
            process: cluster.pid(),
            runtime: Runtime::new().unwrap(),
        }
    }

    fn send(&self, method: &str, path: &str, accept: &str, content_type: &str, body: impl Into<Bytes>) -> Told {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let call = self.https.call(method, path, accept, Some(content_type), body.into());
        let (status, headers, body) = self.runtime.block_on(call).unwrap();
        let text =
            |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        Told { status: status.as_u16(), warnings: text("warning"), content_type: text("content-type").concat(), body }
    }

    fn get(&self, path: &str) -> Told {
        self.send("GET", path, JSON, "", "")
    }

    fn post(&self, path: &str, body: &Value) -> Told {
        self.send("POST", path, JSON, JSON, body.to_string())
    }

    fn put(&self, path: &str, body: &Value) -> Told {
        self.send("PUT", path, JSON, JSON, body.to_string())
    }

    fn merge(&self, path: &str, body: &Value) -> Told {
        self.send("PATCH", path, JSON, MERGE, body.to_string())
    }

    fn delete(&self, path: &str, body: &Value) -> Told {
        self.send("DELETE", path, JSON, JSON, body.to_string())
    }

    /// Creates what must be created.
    fn create(&self, path: &str, body: &Value) -> Value {
        let told = self.post(path, body);
        assert_eq!(told.status, 201, "POST {path} {body}: {}", told.body);
        told.body
    }

    /// A namespace of the test's own: the path of what is in it.
    fn namespace(&self, name: &str) -> String {
        self.create("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        format!("/api/v1/namespaces/{name}")
    }

    /// The first events of a watch, as type and object; fewer where it ends before.
    fn events(&self, path: &str, count: usize) -> Vec<(String, Value)> {
        self.runtime.block_on(async {
            let mut chunks = self.https.stream(path).await.unwrap();
            let mut text = Vec::new();
            while text.iter().filter(|byte| **byte == b'\n').count() < count {
                match chunks.next().await {
                    Some(chunk) => text.extend_from_slice(&chunk.unwrap()),
                    None => break,
                }
            }
            let event = |line: &str| {
                let event: Value = serde_json::from_str(line).unwrap();
                (event["type"].as_str().unwrap().to_owned(), event["object"].clone())
            };
            String::from_utf8(text).unwrap().lines().take(count).map(event).collect()
        })
    }
}

impl Told {
    /// The same answer, which must have this status.
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// An error as a `Status` object of this code and reason.
    fn refused(&self, code: u16, reason: &str) {
        let found = (self.status, self.body["kind"].as_str(), self.body["status"].as_str());
        assert_eq!(found, (code, Some("Status"), Some("Failure")), "{}", self.body);
        assert_eq!((self.body["code"].as_u64(), self.body["reason"].as_str()), (Some(code.into()), Some(reason)));
        assert!(self.body["message"].as_str().is_some_and(|message| !message.is_empty()));
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn version(&self) -> String {
        version(&self.body)
    }
}

/// The `resourceVersion` of an object or a list.
fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// The names in a list.
fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"v": value}}, "data": {"key": value}})
}

fn pod(name: &str) -> Value {
    // No scheduler of this cluster places it.
    let spec = json!({"schedulerName": "nobody", "containers": [{"name": "c", "image": "i:1"}]});
    json!({"metadata": {"name": name}, "spec": spec})
}

fn deployment(name: &str) -> Value {
    let template =
        json!({"metadata": {"labels": {"a": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"a": name}}, "template": template});
    json!({"metadata": {"name": name}, "spec": spec})
}
