//! A node's process dies, and the next one takes over what its sandboxes hold.

use std::fs;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_runtime::ExitReason;
use wherry_sandbox::Grouping;

use crate::world::World;

/// The numbers of the lines that a pod has printed, in their order.
fn lines(world: &World, pod: &str) -> Vec<usize> {
    let log = world.log(pod);
    log.lines().filter_map(|line| line.rsplit_once(" F line ")?.1.parse().ok()).collect()
}

#[tokio::test]
async fn what_runs_goes_on_under_the_next_node() {
    let world = World::new().await;
    let word = world.scratch.path().join("word").display().to_string();
    let _server = world.start("shop", "server", "echo", &[]).await.unwrap();
    let to = format!("{}:8080", world.address("server"));
    let _client = world.start("shop", "client", "talks", &[("TO", &to)]).await.unwrap();
    let _counter = world.start("shop", "counter", "counts", &[("WORD", &word)]).await.unwrap();
    world.printed("client", "answer 9.").await;
    world.printed("counter", "line 9\n").await;
    let dead = world.die().await;
    let before = fs::read_to_string(dead.scratch.path().join("client.log")).unwrap().lines().count();
    dead.printed("client", &format!("answer {}.", before + 9)).await;

    let world = dead.revive().await;
    let survivor = world.survivors("shop", "counter").pop().unwrap();
    let known = (survivor.run, survivor.name.as_str(), survivor.reference.as_str(), survivor.exit);
    assert_eq!(known, (2, "main", "counts", None));
    assert!(world.survivors("other", "counter").is_empty());
    let server = world.adopt("shop", "server").await;
    // Its ports are known with it.
    let mut stream = world.try_dial("server", 8080).await.unwrap();
    let _client = world.adopt("shop", "client").await;
    let counter = world.adopt("shop", "counter").await;
    assert!(world.survivors("shop", "counter").is_empty());
    world.end_survivors().await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    let new = world.start("shop", "new", "talks", &[("TO", &to)]).await.unwrap();
    world.printed("new", "answer 9.").await;
    new.stop();
    assert_eq!(new.exited().await.code, 0);
    let answers = world.log("client").lines().count();
    world.printed("client", &format!("answer {}.", answers + 9)).await;
    fs::write(&word, "").unwrap();
    assert_eq!(counter.exited().await.code, 7);
    let lines = lines(&world, "counter");
    assert!(lines.iter().enumerate().all(|(at, line)| at == *line), "{lines:?}");
    server.stop();
    assert_eq!(server.exited().await.code, 0);
    assert_eq!(world.launched(), 1);
}

#[tokio::test]
async fn an_end_that_no_node_has_seen_is_kept_until_one_has() {
    let world = World::new().await;
    let word = world.scratch.path().join("word").display().to_string();
    let _keeps_the_sandbox = world.start("shop", "server", "echo", &[]).await.unwrap();
    let _counter = world.start("shop", "counter", "counts", &[("WORD", &word)]).await.unwrap();
    let dead = world.die().await;
    fs::write(&word, "").unwrap();
    dead.printed("counter", "heard").await;
    let world = dead.revive().await;
    let counter = world.adopt("shop", "counter").await;
    assert_eq!(counter.exited().await.code, 7);
    // This node has heard of it, and dies before it has said that it need not be kept.
    let world = world.die().await.revive().await;
    drop(counter);
    let counter = world.adopt("shop", "counter").await;
    let exit = counter.exited().await;
    assert_eq!((exit.code, exit.reason), (7, ExitReason::Error));
    drop(counter);
    // What is said later is done later.
    let later = world.start("shop", "job", "prints", &[]).await.unwrap();
    assert_eq!(later.exited().await.code, 3);
    let world = world.die().await.revive().await;
    assert!(world.survivors("shop", "counter").is_empty());
    assert_eq!(world.survivors("shop", "job")[0].exit.as_ref().unwrap().code, 3);
}

#[tokio::test]
async fn what_is_not_taken_over_is_stopped() {
    let world = World::new().await;
    let _server = world.start("shop", "server", "echo", &[]).await.unwrap();
    let _kept = world.start("shop", "kept", "echo", &[]).await.unwrap();
    let world = world.die().await.revive().await;
    let _kept = world.adopt("shop", "kept").await;
    world.end_survivors().await;
    assert!(world.survivors("shop", "server").is_empty());
    world.printed("server", "stopped").await;
    drop(world.try_dial("kept", 8080).await.unwrap());
    assert!(!world.log("kept").contains("stopped"));
}

#[tokio::test]
async fn a_sandbox_that_no_node_comes_for_ends() {
    let world = World::with(Duration::from_millis(50), Grouping::Namespace).await;
    let _server = world.start("shop", "server", "echo", &[]).await.unwrap();
    let dead = world.die().await;
    dead.deserted().await;
    let world = dead.revive().await;
    assert!(world.survivors("shop", "server").is_empty());
    let again = world.start("shop", "server", "echo", &[]).await.unwrap();
    drop(world.dial("server", 8080).await);
    again.stop();
    assert_eq!(again.exited().await.reason, ExitReason::Completed);
    assert_eq!(world.launched(), 2);
}

#[tokio::test]
async fn a_node_that_is_stopped_leaves_no_sandbox() {
    let world = World::new().await;
    let _server = world.start("shop", "server", "echo", &[]).await.unwrap();
    world.stop().await.deserted().await;
}
