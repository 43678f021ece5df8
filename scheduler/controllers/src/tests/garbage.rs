//! Garbage: background, foreground, orphans, owners that are elsewhere or only some of them gone.

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::kinds::{ConfigMap, Deployment, Kind, Pod, ReplicaSet, Secret};
use wherry_client::{DeleteOptions, ListOptions, Propagation};

use super::scene::{Scene, words};
use crate::driver::Controller;
use crate::garbage::Garbage;
use crate::plan::Item;
use crate::world::within;

fn web() -> String {
    wherry_fixture::deployment("web", 2, "")
}

async fn remove<K: Kind>(scene: &Scene, name: &str, propagation: Propagation) {
    let options = DeleteOptions { propagation, ..DeleteOptions::default() };
    scene.client.namespaced::<K>("default").delete(name, options).await.unwrap();
}

async fn count<K: Kind>(scene: &Scene) -> usize {
    scene.client.namespaced::<K>("default").list(ListOptions::default()).await.unwrap().items.len()
}

async fn map(scene: &Scene, name: &str, owners: Value) {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
    scene.add(&object.to_string()).await;
}

async fn secret_uid(scene: &Scene, name: &str) -> String {
    scene.add(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}")).await;
    scene.client.namespaced::<Secret>("default").get(name).await.unwrap().metadata.uid.unwrap()
}

fn owner(name: &str, uid: &str, blocks: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid, "blockOwnerDeletion": blocks})
}

#[tokio::test]
async fn in_the_background_the_owner_goes_first() {
    let scene = Scene::of(&web()).await;
    scene.play(&["i:1"]).await;
    remove::<Deployment>(&scene, "web", Propagation::Background).await;
    assert_eq!((count::<Deployment>(&scene).await, count::<Pod>(&scene).await), (0, 2));
    scene.play(&[]).await;
    assert_eq!((count::<ReplicaSet>(&scene).await, count::<Pod>(&scene).await), (0, 0));
}

#[tokio::test]
async fn in_the_foreground_the_owner_goes_last() {
    let scene = Scene::of(&web()).await;
    scene.play(&["i:1"]).await;
    remove::<Deployment>(&scene, "web", Propagation::Foreground).await;
    scene.settle().await;
    assert_eq!((count::<Deployment>(&scene).await, count::<ReplicaSet>(&scene).await), (1, 1), "pods are ending");
    assert!(scene.pods().await.iter().all(|pod| pod.metadata.deletion_timestamp.is_some()));
    scene.play(&[]).await;
    assert_eq!((count::<Deployment>(&scene).await, count::<ReplicaSet>(&scene).await), (0, 0));
}

#[tokio::test]
async fn orphans_stay() {
    let scene = Scene::of(&web()).await;
    scene.play(&["i:1"]).await;
    let set = scene.view().await.replica_sets.keys().next().unwrap().name.to_string();
    remove::<Deployment>(&scene, "web", Propagation::Orphan).await;
    scene.play(&["i:1"]).await;
    assert_eq!((count::<Deployment>(&scene).await, count::<Pod>(&scene).await), (0, 2));
    remove::<ReplicaSet>(&scene, &set, Propagation::Orphan).await;
    scene.play(&["i:1"]).await;
    assert_eq!((count::<ReplicaSet>(&scene).await, count::<Pod>(&scene).await), (0, 2));
    assert!(scene.pods().await.iter().all(|pod| pod.metadata.owner_references.is_none()));
}

#[tokio::test]
async fn only_an_object_all_of_whose_owners_are_gone_goes() {
    let scene = Scene::of("").await;
    let (a, b) = (secret_uid(&scene, "a").await, secret_uid(&scene, "b").await);
    map(&scene, "both", json!([owner("a", &a, false), owner("b", &b, false)])).await;
    map(&scene, "one", json!([owner("a", &a, false)])).await;
    map(&scene, "strange", json!([{"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "u"}])).await;
    map(&scene, "dangling", json!([owner("never", "no-such-uid", false)])).await;
    map(&scene, "renewed", json!([owner("b", "another-uid", false)])).await;
    scene.collect().await;
    remove::<Secret>(&scene, "a", Propagation::Background).await;
    while scene.collect().await > 0 {}
    let view = scene.view().await;
    let left: Vec<&str> = within(&view.config_maps, "default").map(|(key, _)| &*key.name).collect();
    assert_eq!(left, ["both", "strange"]);
}

#[tokio::test]
async fn dependents_that_do_not_block_are_not_waited_for() {
    let scene = Scene::of("").await;
    let a = secret_uid(&scene, "a").await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "free", "finalizers": ["x/y"], "ownerReferences": [owner("a", &a, false)]}});
    scene.add(&held.to_string()).await;
    remove::<Secret>(&scene, "a", Propagation::Foreground).await;
    while scene.collect().await > 0 {}
    assert_eq!(count::<Secret>(&scene).await, 0);
    let free = scene.client.namespaced::<ConfigMap>("default").get("free").await.unwrap();
    assert!(free.metadata.deletion_timestamp.is_some());
    // One that blocks is waited for, though it takes its time.
    let b = secret_uid(&scene, "b").await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tied", "finalizers": ["x/y"], "ownerReferences": [owner("b", &b, true)]}});
    scene.add(&held.to_string()).await;
    remove::<Secret>(&scene, "b", Propagation::Foreground).await;
    while scene.collect().await > 0 {}
    assert_eq!(count::<Secret>(&scene).await, 1);
    scene.patch::<ConfigMap>("tied", json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/y"]}})).await;
    while scene.collect().await > 0 {}
    assert_eq!(count::<Secret>(&scene).await, 0);
}

#[tokio::test]
async fn an_owner_elsewhere_is_none_and_a_new_one_is_asked_for() {
    let scene = Scene::of("apiVersion: v1\nkind: Namespace\nmetadata: {name: far}").await;
    scene.add("apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: far}").await;
    let far = scene.client.namespaced::<Secret>("far").get("a").await.unwrap().metadata.uid.unwrap();
    map(&scene, "m", json!([owner("a", &far, false)])).await;
    let item = |view: &crate::world::View| {
        let key = ObjectKey::new("default", "m");
        let uid = view.config_maps.get(&key).map(|map| crate::world::uid(crate::world::Known::meta(map)).into());
        Item { resource: ConfigMap::resource(), uid: uid.unwrap_or_default(), key }
    };
    let view = scene.view().await;
    let plan = Garbage.reconcile(&view, &item(&view));
    assert_eq!(words(&plan), "tell OwnerRefInvalidNamespace, collect configmap");
    scene.carry_out(&plan).await;
    assert_eq!(count::<ConfigMap>(&scene).await, 0);
    // A view that does not show the owner yet does no harm: the API itself is asked.
    let before = scene.view().await;
    let b = secret_uid(&scene, "b").await;
    map(&scene, "m", json!([owner("b", &b, false)])).await;
    let mut view = scene.view().await;
    view.secrets = before.secrets;
    let plan = Garbage.reconcile(&view, &item(&view));
    assert_eq!(words(&plan), "collect configmap");
    scene.carry_out(&plan).await;
    assert_eq!(count::<ConfigMap>(&scene).await, 1);
}
