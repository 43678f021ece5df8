//! Peers that die, leave, or come back.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wherry_base::Trigger;
use wherry_vnet::{DialError, Stream, TryRead};

use crate::world::{A, B, C, World, passage};

async fn reset(stream: &mut Stream) {
    std::future::poll_fn(|context| stream.reader.poll_readable(context)).await;
    assert_eq!(stream.reader.try_read(1), TryRead::Reset);
}

/// Nodes `a` and `b`, and what cuts off `b`; ends with the trigger.
async fn cuttable() -> (World, CancellationToken, Trigger) {
    let mut world = World::apart().await;
    let trigger = Trigger::new();
    let (at, cut) = passage(world.nodes[B].reach.endpoint.unwrap(), &trigger.drain()).await;
    world.nodes[B].reach.endpoint = Some(at);
    world.introduce(&[A, B]);
    (world, cut, trigger)
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_dead_within_a_second() {
    let (world, cut, _trigger) = cuttable().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    ours.write_all(b"x").await.unwrap();
    cut.cancel();
    // Nothing but timers from here on.
    tokio::time::pause();
    let begun = Instant::now();
    tokio::join!(reset(&mut ours), async {
        std::future::poll_fn(|context| theirs.reader.poll_readable(context)).await;
        // What had come before is read yet.
        while let TryRead::Data(_) = theirs.reader.try_read(64) {}
        reset(&mut theirs).await;
    });
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_asked_when_a_stream_opens_again() {
    let (world, cut, _trigger) = cuttable().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    drop(world.connection(&client, &mut listener, to).await);
    cut.cancel();
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
}

#[tokio::test]
async fn a_node_that_is_gone_ends_all_streams_at_once() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    world.nodes[A].tunnels.set_peers([("c", world.nodes[C].reach.clone())]);
    reset(&mut ours).await;
    reset(&mut theirs).await;
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
    // The same on the side that is asked.
    world.introduce(&[A, B, C]);
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    world.nodes[B].tunnels.set_peers([("c", world.nodes[C].reach.clone())]);
    reset(&mut theirs).await;
    reset(&mut ours).await;
}

#[tokio::test]
async fn a_table_that_stays_the_same_ends_nothing() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    world.introduce(&[C, B, A]);
    ours.write_all(b"x").await.unwrap();
    std::future::poll_fn(|context| theirs.reader.poll_readable(context)).await;
    assert_eq!(theirs.reader.try_read(9), TryRead::Data("x".into()));
}

#[tokio::test]
async fn a_peer_that_was_down_is_reached_when_it_is_back() {
    let mut world = World::apart().await;
    let there = world.nodes[B].reach.endpoint;
    // A port that nobody listens on: that of a listener that is gone.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.nodes[B].reach.endpoint = Some(gone);
    world.introduce(&[A, B]);
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
    world.nodes[B].reach.endpoint = there;
    world.introduce(&[A, B]);
    drop(world.connection(&client, &mut listener, to).await);
}
