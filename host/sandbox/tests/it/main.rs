//! Sandboxes without processes: the node's side and the guests' side in one, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and the programs of its sandboxes end with it"
)]

mod adoption;
mod mixed;
mod programs;
mod requests;
mod world;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_runtime::ExitReason;
use wherry_sandbox::{ADOPTION_GRACE, Grouping};

use world::World;

#[tokio::test]
async fn a_container_starts_prints_and_ends() {
    let world = World::new().await;
    let container = world.start("shop", "job", "prints", &[]).await.unwrap();
    let exit = container.exited().await;
    assert_eq!((exit.code, exit.reason), (3, ExitReason::Error));
    assert!(world.log("job").contains("stdout F printed\n"), "{}", world.log("job"));
}

#[tokio::test]
async fn the_node_reaches_a_port_and_the_echo_comes_back() {
    let world = World::new().await;
    let container = world.start("shop", "server", "echo", &[]).await.unwrap();
    let mut stream = world.dial("server", 8080).await;
    stream.write_all(b"over a passed socket").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "over a passed socket");
    container.stop();
    assert_eq!(container.exited().await.code, 0);
}

#[tokio::test]
async fn pods_reach_one_another_within_a_sandbox_and_across_two() {
    let world = World::new().await;
    let _server = world.start("shop", "server", "echo", &[]).await.unwrap();
    let to = format!("{}:8080", world.address("server"));
    for (namespace, pod) in [("shop", "near"), ("other", "far")] {
        let client = world.start(namespace, pod, "client", &[("TO", &to)]).await.unwrap();
        assert_eq!(client.exited().await.code, 0, "{pod}: {}", world.log(pod));
        assert!(world.log(pod).contains("F echoed 300000 bytes"), "{pod}: {}", world.log(pod));
    }
    assert_eq!(world.launched(), 2);
}

#[tokio::test]
async fn what_is_refused_is_refused_at_once() {
    let world = World::new().await;
    let _server = world.start("shop", "server", "echo", &[]).await.unwrap();
    let closed = format!("{}:81", world.address("server"));
    for (to, expected) in [(closed.as_str(), "connection refused"), ("192.0.2.1:80", "egress is denied")] {
        let client = world.start("other", "client", "client", &[("TO", to)]).await.unwrap();
        assert_eq!(client.exited().await.code, 1);
        assert!(world.log("client").contains(expected), "{to}: {}", world.log("client"));
    }
}

#[tokio::test]
async fn datagrams_cross_and_their_answers_come_back() {
    let world = World::new().await;
    let _server = world.start("shop", "server", "udp-echo", &[]).await.unwrap();
    let to = format!("{}:8080", world.address("server"));
    let client = world.start("other", "client", "udp-client", &[("TO", &to)]).await.unwrap();
    assert_eq!(client.exited().await.code, 0, "{}", world.log("client"));
}

#[tokio::test]
async fn a_sandbox_that_is_gone_takes_its_own_containers_only() {
    let world = World::new().await;
    let lost = world.start("shop", "a", "echo", &[]).await.unwrap();
    let kept = world.start("other", "b", "echo", &[]).await.unwrap();
    world.kill("namespace-shop");
    let exit = lost.exited().await;
    assert_eq!((exit.reason, exit.code), (ExitReason::SandboxChanged, 137));
    assert!(exit.message.contains("killed by the test"), "{}", exit.message);
    assert!(world.try_dial("a", 8080).await.is_none());
    let mut stream = world.dial("b", 8080).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    let again = world.start("shop", "a", "echo", &[]).await.unwrap();
    drop(world.dial("a", 8080).await);
    kept.stop();
    again.stop();
    assert_eq!(again.exited().await.code, 0);
}

#[tokio::test]
async fn the_others_of_an_isolated_pod_are_spared_where_the_killed_one_yields() {
    let world = World::with(ADOPTION_GRACE, Grouping::Pod).await;
    let other = world.start("shop", "pod", "echo", &[]).await.unwrap();
    let yields = world.start("shop", "pod", "talks", &[("TO", "127.0.0.1:8080")]).await.unwrap();
    let deaf = world.start("shop", "pod", "deaf", &[]).await.unwrap();
    yields.kill();
    assert_eq!(yields.exited().await.reason, ExitReason::Completed);
    drop(world.try_dial("pod", 8080).await.unwrap());
    deaf.kill();
    let exit = deaf.exited().await;
    assert_eq!((exit.reason, exit.code), (ExitReason::Error, 137));
    assert_eq!(other.exited().await.reason, ExitReason::SandboxChanged);
    assert_eq!(world.launched(), 1);
}
