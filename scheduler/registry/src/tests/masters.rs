//! Registries of several masters: what was pushed to one is at all of them, and outlives any.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;
use tokio::sync::watch;
use tower::ServiceExt;
use wherry_base::Trigger;
use wherry_client::Client;

use super::{Registry, api, manifest};
use crate::{Digest, Peer, Peers};

/// Another master, without a socket; one that is dead where it has no router.
struct Other(watch::Receiver<Option<Router>>);

impl Other {
    async fn ask(&self, method: Method, digest: &Digest) -> Result<Body, String> {
        let router = self.0.borrow().clone().ok_or("dead")?;
        let request = Request::builder().method(method).uri(format!("/v2/_local/blobs/{digest}"));
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(answer.status().to_string()) }
    }
}

#[async_trait]
impl Peer for Other {
    async fn blob(&self, digest: &Digest) -> Result<BoxStream<'static, Result<Bytes, String>>, String> {
        let body = self.ask(Method::GET, digest).await?;
        Ok(body.into_data_stream().map(|chunk| chunk.map_err(|error| error.to_string())).boxed())
    }

    async fn take(&self, digest: &Digest) -> Result<(), String> {
        self.ask(Method::POST, digest).await.map(drop)
    }
}

/// Masters that know each other.
struct Masters {
    all: Vec<Registry>,
    ways: Vec<watch::Sender<Option<Router>>>,
}

impl Masters {
    fn of(api: &Client, count: usize) -> Self {
        let ways: Vec<watch::Sender<Option<Router>>> = (0..count).map(|_| watch::Sender::new(None)).collect();
        let peers_of = |me: usize| -> Peers {
            let others = ways.iter().enumerate().filter(|(other, _)| *other != me);
            others.map(|(_, way)| Arc::new(Other(way.subscribe())) as Arc<dyn Peer>).collect()
        };
        let all: Vec<Registry> = (0..count).map(|me| Registry::of(api, peers_of(me))).collect();
        let masters = Self { all, ways };
        (0..count).for_each(|master| masters.set(master, true));
        masters
    }

    /// Whether others reach a master.
    fn set(&self, master: usize, lives: bool) {
        self.ways[master].send_replace(lives.then(|| self.all[master].router.clone()));
    }

    /// What is at a master, whether or not others have it.
    fn has(&self, master: usize, content: &[u8]) -> bool {
        self.all[master].store.blob_path(&Digest::of(content)).exists()
    }
}

const MANIFEST: &str = "/v2/lib/hello/manifests/v1";

#[tokio::test]
async fn an_image_outlives_the_master_that_it_was_pushed_to() {
    let masters = Masters::of(&api().await, 3);
    masters.set(2, false);
    let (_, pushed) = masters.all[0].push_image("v1", b"layer").await;
    masters.set(0, false);
    masters.set(2, true);
    let layer = format!("/v2/lib/hello/blobs/{}", Digest::of(b"layer"));
    // It was away while the image was pushed, and fetches what it is asked for.
    for master in [1, 2] {
        let answer = masters.all[master].get(MANIFEST).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &pushed[..]), "{master}");
        assert_eq!(&masters.all[master].get(&layer).await.body[..], b"layer", "{master}");
    }
    assert_eq!(masters.all[1].get("/v2/_catalog").await.json(), json!({"repositories": ["lib/hello"]}));
}

#[tokio::test]
async fn a_push_needs_a_majority() {
    let masters = Masters::of(&api().await, 3);
    masters.set(1, false);
    masters.set(2, false);
    let alone = &masters.all[0];
    let parts = (alone.push_blob(b"{}").await, alone.push_blob(b"layer").await);
    let manifest = manifest(&parts.0, &parts.1);
    let push = || alone.ask("PUT", MANIFEST, &[], manifest.clone());
    assert_eq!(push().await.failure(), "503 UNKNOWN");
    assert_eq!(alone.get(MANIFEST).await.status, 404);
    masters.set(2, true);
    assert_eq!(push().await.status, 201);
    assert!(masters.has(2, b"layer") && masters.has(2, &manifest));
}

#[tokio::test]
async fn a_push_may_change_masters_half_way() {
    let masters = Masters::of(&api().await, 2);
    let parts = (masters.all[0].push_blob(b"{}").await, masters.all[0].push_blob(b"layer").await);
    let put = masters.all[1].ask("PUT", MANIFEST, &[], manifest(&parts.0, &parts.1)).await;
    assert_eq!(put.status, 201);
    assert!(masters.has(1, b"layer"));
}

#[tokio::test]
async fn a_master_fetches_what_it_missed_and_drops_what_is_gone() {
    let masters = Masters::of(&api().await, 3);
    masters.set(2, false);
    masters.all[0].push_image("v1", b"first").await;
    masters.all[0].push_image("v2", b"second").await;
    masters.set(2, true);
    assert!(!masters.has(2, b"first"));
    let tasks = Trigger::new();
    tasks.drain().spawn(masters.all[2].store.clone().follow(tasks.drain()));
    let until = async |holds: &dyn Fn() -> bool| {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    until(&|| masters.has(2, b"first") && masters.has(2, b"second")).await;
    assert_eq!(masters.all[0].ask("DELETE", MANIFEST, &[], Body::empty()).await.status, 202);
    until(&|| !masters.has(2, b"first")).await;
    assert!(masters.has(2, b"second"));
}

#[tokio::test]
async fn what_is_damaged_on_the_way_is_not_kept() {
    struct Liar;
    #[async_trait]
    impl Peer for Liar {
        async fn blob(&self, _: &Digest) -> Result<BoxStream<'static, Result<Bytes, String>>, String> {
            Ok(futures::stream::iter([Ok(Bytes::from_static(b"something else"))]).boxed())
        }

        async fn take(&self, _: &Digest) -> Result<(), String> {
            Ok(())
        }
    }
    let registry = Registry::of(&api().await, vec![Arc::new(Liar)]);
    let wanted = Digest::of(b"wanted");
    assert_eq!(registry.get(&format!("/v2/a/blobs/{wanted}")).await.failure(), "404 BLOB_UNKNOWN");
    assert!(!registry.store.blob_path(&wanted).exists());
}

#[tokio::test]
async fn tags_that_were_files_are_taken_over() {
    let registry = Registry::of(&api().await, Vec::new());
    let (digest, pushed) = registry.push_image("v1", b"layer").await;
    // As one master alone kept them, before: of two tags one is called otherwise by now.
    let old = registry.directory.path().join("repositories/lib/hello");
    let text = digest.to_string();
    for (path, content) in [
        ("_tags/v1", Digest::of(b"old").to_string()),
        ("_tags/v0", text.clone()),
        (&format!("_manifests/{}", digest.hex()), "application/vnd.oci.image.manifest.v1+json".to_owned()),
    ] {
        std::fs::create_dir_all(old.join(path).parent().unwrap()).unwrap();
        std::fs::write(old.join(path), content).unwrap();
    }
    let again = registry.store.clone();
    again.take_over().await.unwrap();
    again.take_over().await.unwrap();
    for tag in ["v0", "v1"] {
        let answer = registry.get(&format!("/v2/lib/hello/manifests/{tag}")).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &pushed[..]), "{tag}");
    }
    assert!(!old.exists());
}
