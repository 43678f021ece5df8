//! The registry over its router, without sockets: what clients push they can pull, and nothing else gets in.

mod masters;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt;

use tokio::sync::watch;
use wherry_apiserver::{Identity, RegistryConfig};
use wherry_base::SystemClock;
use wherry_client::Client;
use wherry_store::{Limits, Store};

use crate::{Collected, Digest, ImageStore, Peers, router};

struct Registry {
    store: ImageStore,
    router: Router,
    directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// The API that all masters share.
async fn api() -> Client {
    let store = Store::in_memory(Limits::default());
    let api = wherry_apiserver::Registry::new(store, RegistryConfig::default(), SystemClock::shared());
    api.bootstrap().await.unwrap();
    api.client(Identity::admin())
}

async fn registry() -> Registry {
    Registry::of(&api().await, Vec::new())
}

impl Registry {
    /// Of one master among several.
    fn of(api: &Client, peers: Peers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = ImageStore::open(directory.path(), api, watch::channel(peers).1).unwrap();
        Self { router: router(store.clone()), store, directory }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    async fn push_blob(&self, content: &'static [u8]) -> Digest {
        let digest = Digest::of(content);
        let path = format!("/v2/lib/hello/blobs/uploads/?digest={}", digest.to_string().replace(':', "%3A"));
        assert_eq!(self.ask("POST", &path, &[], content).await.status, 201);
        digest
    }

    async fn push_image(&self, tag: &str, content: &'static [u8]) -> (Digest, Vec<u8>) {
        let manifest = manifest(&self.push_blob(b"{}").await, &self.push_blob(content).await);
        let answer = self.ask("PUT", &format!("/v2/lib/hello/manifests/{tag}"), &[], manifest.clone()).await;
        assert_eq!(answer.status, 201);
        (Digest::of(&manifest), manifest)
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and code of an error.
    fn failure(&self) -> String {
        format!("{} {}", self.status, self.json()["errors"][0]["code"].as_str().unwrap())
    }
}

fn manifest(config: &Digest, layer: &Digest) -> Vec<u8> {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let part = |digest: &Digest| json!({"digest": digest.to_string(), "size": 1, "mediaType": "x/y"});
    let whole = json!({"schemaVersion": 2, "mediaType": media_type, "config": part(config), "layers": [part(layer)]});
    serde_json::to_vec(&whole).unwrap()
}

#[tokio::test]
async fn an_image_is_pulled_as_it_was_pushed() {
    let registry = registry().await;
    assert_eq!(registry.get("/v2/").await.status, 200);
    let (digest, manifest) = registry.push_image("v1", b"the layer").await;
    for reference in ["v1", &digest.to_string()] {
        let answer = registry.get(&format!("/v2/lib/hello/manifests/{reference}")).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &manifest[..]));
        assert_eq!(answer.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    }
    let layer = format!("/v2/lib/hello/blobs/{}", Digest::of(b"the layer"));
    assert_eq!(&registry.get(&layer).await.body[..], b"the layer");
    let head = registry.ask("HEAD", &layer, &[], Body::empty()).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "9", 0));
    let part = registry.ask("GET", &layer, &[("range", "bytes=4-")], Body::empty()).await;
    assert_eq!((part.status, &part.body[..], part.header("content-range")), (206, &b"layer"[..], "bytes 4-8/9"));
    assert_eq!(registry.get("/v2/_catalog").await.json(), json!({"repositories": ["lib/hello"]}));
}

#[tokio::test]
async fn blobs_come_in_chunks_in_order() {
    let registry = registry().await;
    let begun = registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await;
    assert_eq!(begun.status, 202);
    let at = begun.header("location").to_owned();
    let first = registry.ask("PATCH", &at, &[("content-range", "0-2")], "abc").await;
    assert_eq!((first.status, first.header("range")), (202, "0-2"));
    let wrong = registry.ask("PATCH", &at, &[("content-range", "5-7")], "xyz").await;
    assert_eq!((wrong.failure().as_str(), wrong.header("range")), ("416 BLOB_UPLOAD_INVALID", "0-2"));
    let status = registry.get(&at).await;
    assert_eq!((status.status, status.header("range")), (204, "0-2"));
    let digest = Digest::of(b"abcdef");
    let ended = registry.ask("PUT", &format!("{at}?digest={digest}"), &[("content-range", "3-5")], "def").await;
    assert_eq!((ended.status, ended.header("docker-content-digest")), (201, digest.to_string().as_str()));
    assert_eq!(&registry.get(ended.header("location")).await.body[..], b"abcdef");
    assert_eq!(registry.get(&at).await.failure(), "404 BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_leaves_nothing() {
    let registry = registry().await;
    let other = Digest::of(b"other");
    let lie = registry.ask("POST", &format!("/v2/a/blobs/uploads/?digest={other}"), &[], "content").await;
    assert_eq!(lie.failure(), "400 DIGEST_INVALID");
    assert_eq!(registry.get(&format!("/v2/a/blobs/{other}")).await.failure(), "404 BLOB_UNKNOWN");
    let dangling = manifest(&other, &other);
    for (path, body, expected) in [
        ("/v2/a/manifests/v1", dangling, "404 MANIFEST_BLOB_UNKNOWN"),
        ("/v2/a/manifests/v1", b"no json".to_vec(), "400 MANIFEST_INVALID"),
        ("/v2/a/manifests/-", b"{}".to_vec(), "400 MANIFEST_INVALID"),
        ("/v2/A/manifests/v1", b"{}".to_vec(), "400 NAME_INVALID"),
        ("/v2/../etc/manifests/v1", b"{}".to_vec(), "400 NAME_INVALID"),
        ("/v2/a/manifests/v1", vec![b' '; crate::MANIFEST_BYTES_MAX + 1], "413 SIZE_INVALID"),
        (&format!("/v2/a/manifests/{other}"), b"{}".to_vec(), "400 DIGEST_INVALID"),
        ("/v2/a/what", Vec::new(), "404 UNSUPPORTED"),
    ] {
        assert_eq!(registry.ask("PUT", path, &[], body).await.failure(), expected, "{path}");
    }
    assert_eq!(registry.get("/v2/a/manifests/v1").await.failure(), "404 MANIFEST_UNKNOWN");
    assert_eq!(registry.get("/v2/a/tags/list").await.failure(), "404 NAME_UNKNOWN");
    assert_eq!(registry.get("/v2/_catalog").await.json(), json!({"repositories": []}));
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let registry = registry().await;
    for tag in ["a", "b", "c"] {
        registry.push_image(tag, b"x").await;
    }
    let first = registry.get("/v2/lib/hello/tags/list?n=2").await;
    assert_eq!(first.json(), json!({"name": "lib/hello", "tags": ["a", "b"]}));
    assert_eq!(first.header("link"), "</v2/lib/hello/tags/list?n=2&last=b>; rel=\"next\"");
    let rest = registry.get("/v2/lib/hello/tags/list?n=2&last=b").await;
    assert_eq!((rest.json()["tags"].clone(), rest.header("link")), (json!(["c"]), ""));
}

#[tokio::test]
async fn garbage_is_what_no_image_needs() {
    let registry = registry().await;
    let (_, first) = registry.push_image("v1", b"first").await;
    let (digest, _) = registry.push_image("v2", b"second").await;
    let layer = format!("/v2/lib/hello/blobs/{}", Digest::of(b"second"));
    assert_eq!(registry.ask("DELETE", &layer, &[], Body::empty()).await.failure(), "405 UNSUPPORTED");
    assert_eq!(registry.store.collect_garbage().await.unwrap(), Collected::default());
    registry.push_image("same", b"second").await;
    let size = || registry.store.blob_size(&digest);
    for (tag, is_left) in [("same", true), ("v2", false)] {
        let path = format!("/v2/lib/hello/manifests/{tag}");
        assert_eq!(registry.ask("DELETE", &path, &[], Body::empty()).await.status, 202);
        assert_eq!(size().await.is_ok(), is_left);
    }
    registry.push_blob(b"about to be used").await;
    assert_eq!(registry.store.collect_garbage().await.unwrap(), Collected::default());
    assert_eq!(registry.get("/v2/lib/hello/tags/list").await.json()["tags"], json!(["v1"]));
    assert_eq!(&registry.get("/v2/lib/hello/manifests/v1").await.body[..], first);
}

#[tokio::test]
async fn an_index_goes_with_its_own_manifests() {
    let registry = registry().await;
    let (child, _) = registry.push_image("only", b"x").await;
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": child.to_string(), "size": 1}]});
    let media_type = ("content-type", "application/vnd.oci.image.index.v1+json");
    let path = "/v2/lib/hello/manifests/all";
    assert_eq!(registry.ask("PUT", path, &[media_type], index.to_string()).await.status, 201);
    assert_eq!(registry.get(path).await.header("content-type"), media_type.1);
    let by_digest = format!("/v2/lib/hello/manifests/{child}");
    for (name, expected) in [("only", 200), ("all", 404)] {
        let path = format!("/v2/lib/hello/manifests/{name}");
        assert_eq!(registry.ask("DELETE", &path, &[], Body::empty()).await.status, 202);
        assert_eq!(registry.get(&by_digest).await.status, expected);
    }
    assert_eq!(registry.ask("DELETE", path, &[], Body::empty()).await.failure(), "404 MANIFEST_UNKNOWN");
}
