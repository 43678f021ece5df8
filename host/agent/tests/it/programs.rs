//! Probes and hooks that run programs in containers of the fake runtime.

use serde_json::{Value, json};
use wherry_runtime::fake::Script;

use crate::world::{World, is_ready};

/// A pod whose container knows programs, with a probe or hook.
fn pod(field: &str, does: Value) -> Value {
    json!({ "terminationGracePeriodSeconds": 5, "containers": [{ "name": "a", "image": "linux", field: does }] })
}

fn probe(words: &[&str]) -> Value {
    json!({ "exec": { "command": words }, "periodSeconds": 1, "failureThreshold": 1 })
}

async fn world(data: &tempfile::TempDir) -> World {
    let world = World::new(data.path()).await;
    world.runtime.script("linux", Script { programs: true, ..Script::default() });
    world
}

#[tokio::test]
async fn a_program_says_whether_a_container_is_well() {
    let data = tempfile::tempdir().unwrap();
    let world = world(&data).await;
    world.create("well", pod("readinessProbe", probe(&["exit", "0"]))).await;
    world.wait("well", is_ready).await;
    world.create("ill", pod("readinessProbe", probe(&["exit", "3"]))).await;
    let of = |name: &'static str| {
        move |event: &wherry_api::kinds::Event| event.involved_object.name.as_deref() == Some(name)
    };
    let told = world.wait_for_event("Unhealthy", of("ill")).await.message.unwrap();
    assert_eq!(told, "Readiness probe failed: command 'exit 3' exited with 3: ");
    world.create("slow", pod("readinessProbe", probe(&["hang"]))).await;
    let told = world.wait_for_event("Unhealthy", of("slow")).await.message.unwrap();
    assert_eq!(told, "Readiness probe failed: command timed out: \"hang\" timed out after 1 s");
    world
        .create("module", json!({ "containers": [{ "name": "a", "image": "wasm", "readinessProbe": probe(&["sh"]) }] }))
        .await;
    let told = world.wait_for_event("Unhealthy", of("module")).await.message.unwrap();
    assert!(told.contains("a module has no other programs to run"), "{told}");
    world.shut_down().await;
}

#[tokio::test]
async fn hooks_run_programs() {
    let data = tempfile::tempdir().unwrap();
    let world = world(&data).await;
    let exec = |words: &[&str]| json!({ "exec": { "command": words } });
    world.create("starts", pod("lifecycle", json!({ "postStart": exec(&["nonsense"]) }))).await;
    let told = world.wait_for_event("FailedPostStartHook", |_| true).await.message.unwrap();
    assert!(told.ends_with("exec: \"nonsense\": executable file not found in $PATH"), "{told}");
    world.create("stops", pod("lifecycle", json!({ "preStop": exec(&["exit", "2"]) }))).await;
    world.wait("stops", is_ready).await;
    world.delete("stops", 5).await;
    let told = world.wait_for_event("FailedPreStopHook", |_| true).await.message.unwrap();
    assert_eq!(told, "PreStopHook failed: command 'exit 2' exited with 2: ");
    world.wait("stops", Value::is_null).await;
    world.shut_down().await;
}
