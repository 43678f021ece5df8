//! The agent's process dies, and the next one takes its pods over.

use std::time::Duration;

use serde_json::{Value, json};
use wherry_runtime::fake::{Script, ended};

use crate::world::{World, is_ready, patch_by, waiting};

/// What the first container's status says.
fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

#[tokio::test]
async fn pods_go_on_as_they_are() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("init", Script::exits(Duration::ZERO, 0));
    world.runtime.script("flaky", Script::exits(Duration::from_millis(1), 3));
    let inits = json!([
        { "name": "first", "image": "init" },
        { "name": "side", "image": "side", "restartPolicy": "Always" },
    ]);
    let flaky = json!({ "name": "flaky", "image": "flaky" });
    world.create("other", json!({ "containers": [{ "name": "a", "image": "i" }] })).await;
    world.create("web", json!({ "initContainers": inits, "containers": [{ "name": "app", "image": "app" }] })).await;
    world.create("flaky", json!({ "containers": [flaky] })).await;
    world.create("gone", json!({ "containers": [{ "name": "a", "image": "i" }] })).await;
    world.wait("other", is_ready).await;
    world.wait("gone", is_ready).await;
    let before = world.wait("web", is_ready).await;
    world.wait("flaky", |pod| waiting(pod) == "CrashLoopBackOff").await;
    world.runtime.script("flaky", Script::default());
    let started = world.runtime.started().len();

    let (store, runtime) = world.die();
    let gone = runtime.started().into_iter().find(|container| container.spec.pod.name == "gone").unwrap();
    gone.end(ended(9));
    let world = World::over(store, runtime, data.path()).await;
    let gone = world.wait("gone", |pod| container(pod)["restartCount"] == 1 && is_ready(pod)).await;
    assert_eq!(container(&gone)["lastState"]["terminated"]["exitCode"], 9);
    let flaky = world.wait("flaky", |pod| container(pod)["restartCount"] == 2 && is_ready(pod)).await;
    assert_eq!(container(&flaky)["lastState"]["terminated"]["exitCode"], 3);
    world.create("new", json!({ "containers": [{ "name": "a", "image": "i" }] })).await;
    let new = world.wait("new", is_ready).await;
    let after = world.wait("web", is_ready).await;
    assert_eq!(after["status"], before["status"]);
    assert_ne!(new["status"]["podIP"], after["status"]["podIP"]);
    assert_eq!(world.runtime.started().len(), started + 3, "the crashed, the flaky and the new one");
    world.delete("web", 30).await;
    world.wait("web", Value::is_null).await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_stop_that_was_begun_is_ended_and_a_changed_image_is_started() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("deaf", Script::stubborn());
    world.create("deaf", json!({ "containers": [{ "name": "a", "image": "deaf" }] })).await;
    world.create("old", json!({ "containers": [{ "name": "a", "image": "one" }] })).await;
    world.wait("deaf", is_ready).await;
    world.wait("old", is_ready).await;
    world.delete("deaf", 1).await;
    world.wait("deaf", |pod| !is_ready(pod)).await;
    let client = world.client.clone();
    let (store, runtime) = world.die();
    let image = json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "two" }]);
    patch_by(&client, "old", image).await;
    let world = World::over(store, runtime, data.path()).await;
    world.wait("deaf", Value::is_null).await;
    let old = world.wait("old", |pod| container(pod)["restartCount"] == 1 && is_ready(pod)).await;
    assert_eq!(container(&old)["image"], "two");
    world.shut_down().await;
}
