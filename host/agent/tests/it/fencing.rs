//! A node that is cut off: which pods it stops, and which it takes up again.

use serde_json::{Value, json};
use wherry_api::NodeLease;
use wherry_apiserver::{DefaultTolerations, RegistryConfig};
use wherry_runtime::Container;
use wherry_runtime::fake::Script;

use crate::world::{World, is_ready};

fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()
}

/// A cluster that gives the pods of a node to others after half a second.
fn impatient() -> RegistryConfig {
    RegistryConfig {
        cluster_info: [(NodeLease::KEY.to_owned(), "500ms".to_owned())].into(),
        tolerations: DefaultTolerations { not_ready_seconds: 0, unreachable_seconds: 0 },
        ..RegistryConfig::default()
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_stops_what_others_may_be_given() {
    let data = tempfile::tempdir().unwrap();
    let world = World::in_cluster(impatient(), data.path()).await;
    let spec = || json!({ "containers": [{ "name": "a", "image": "i" }] });
    let patient = json!({ "containers": [{ "name": "a", "image": "i" }], "tolerations": [{ "operator": "Exists" }] });
    world.create("patient", patient).await;
    for name in ["stays", "moves"] {
        world.create(name, spec()).await;
    }
    // It would take an hour to end, were it not for the fence.
    world.runtime.script("stubborn", Script::stubborn());
    let stubborn = json!({
        "terminationGracePeriodSeconds": 3600, "containers": [{ "name": "a", "image": "stubborn" }],
    });
    world.create("ends", stubborn).await;
    for name in ["patient", "stays", "moves", "ends"] {
        world.wait(name, is_ready).await;
    }
    world.delete("ends", 3600).await;
    world.wait_event("Killing").await;
    world.cable.cut(true);
    for container in world.runtime.started() {
        if container.spec.pod.name != "patient" {
            container.exited().await;
        }
    }
    // The cluster gives one of them to another node.
    world.delete("moves", 30).await;
    world.cable.cut(false);
    for name in ["moves", "ends"] {
        world.wait(name, Value::is_null).await;
    }
    world.wait("stays", |pod| is_ready(pod) && restarts(pod) > 0).await;
    assert_eq!(restarts(&world.wait("patient", is_ready).await), 0);
    world.wait_event("NodeFenced").await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_process_that_starts_out_of_reach_ends_what_the_one_before_has_left() {
    let data = tempfile::tempdir().unwrap();
    let world = World::in_cluster(impatient(), data.path()).await;
    for name in ["stays", "moves"] {
        world.create(name, json!({ "containers": [{ "name": "a", "image": "i" }] })).await;
        world.wait(name, is_ready).await;
    }
    let (store, runtime) = world.die();
    let world = World::out_of_reach(store, runtime, data.path()).await;
    for container in world.runtime.started() {
        container.exited().await;
    }
    world.delete("moves", 30).await;
    world.cable.cut(false);
    world.wait("moves", Value::is_null).await;
    world.wait("stays", |pod| is_ready(pod) && restarts(pod) > 0).await;
    world.shut_down().await;
}
