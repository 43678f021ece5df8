//! Connections between pods of different nodes.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_vnet::{DialError, Stream, TryRead};

use crate::world::{A, B, World};

#[tokio::test]
async fn both_ends_know_each_other_by_their_pods_addresses() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (ours, theirs) = world.connection(&client, &mut listener, to).await;
    assert_eq!((ours.local, ours.peer), (theirs.peer, theirs.local));
    assert_eq!((ours.local.ip(), ours.peer), (client.address(), to));
    let dialed = world.nodes[A].network.dial(to).await.unwrap();
    assert_eq!(dialed.local.ip(), world.nodes[A].network.config().node_ip);
    assert_eq!(listener.accept().await.unwrap().peer, dialed.local);
}

#[tokio::test]
async fn everything_arrives_and_each_direction_ends_by_itself() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let question = async {
        ours.write_all(&sent).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let echo = async {
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        theirs.write_all(&heard).await.unwrap();
        theirs.shutdown().await.unwrap();
    };
    let (answer, ()) = tokio::join!(question, echo);
    assert!(answer == sent, "{} of {} bytes", answer.len(), sent.len());
}

#[tokio::test]
async fn the_server_may_end_first() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    theirs.write_all(b"bye").await.unwrap();
    theirs.shutdown().await.unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "bye");
    ours.write_all(b"still here").await.unwrap();
    drop(ours);
    let mut text = String::new();
    theirs.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "still here");
}

/// Waits until there is something to read, and what it is.
async fn next(stream: &mut Stream) -> TryRead {
    std::future::poll_fn(|context| stream.reader.poll_readable(context)).await;
    stream.reader.try_read(64)
}

#[tokio::test]
async fn a_reset_is_a_reset_at_the_other_end() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    ours.abort();
    assert_eq!(next(&mut theirs).await, TryRead::Reset);
    let (mut ours, theirs) = world.connection(&client, &mut listener, to).await;
    theirs.abort();
    assert_eq!(next(&mut ours).await, TryRead::Reset);
    let (mut ours, theirs) = world.connection(&client, &mut listener, to).await;
    drop(theirs.reader);
    let written = async { while ours.write_all(&[0; 1024]).await.is_ok() {} };
    written.await;
    assert_eq!(next(&mut ours).await, TryRead::Reset);
}

#[tokio::test]
async fn a_pod_that_ends_resets_its_connections_everywhere() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (server, mut listener, to) = world.server();
    let (mut ours, _theirs) = world.connection(&client, &mut listener, to).await;
    server.close();
    assert_eq!(next(&mut ours).await, TryRead::Reset);
    assert!(matches!(client.connect(to).await, Err(DialError::Unreachable)));
}

#[tokio::test]
async fn what_cannot_be_reached_fails_as_on_one_node() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, _listener, to) = world.server();
    let check = async |to: SocketAddr, expected: &str| {
        let outcome = client.connect(to).await.map(drop);
        assert_eq!(format!("{outcome:?}"), expected, "{to}");
    };
    check(SocketAddr::new(to.ip(), 81), "Err(Refused)").await;
    check("10.129.7.7:80".parse().unwrap(), "Err(Unreachable)").await;
    check("10.150.0.2:80".parse().unwrap(), "Err(PeerUnreachable)").await;
    // The node itself has no ports in the pod network.
    check("10.129.0.1:80".parse().unwrap(), "Err(Unreachable)").await;
    check(to, "Ok(())").await;
}

#[tokio::test]
async fn a_full_backlog_is_told() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (server, _listener, to) = world.server();
    let mut waiting = Vec::new();
    for _ in 0..wherry_vnet::LISTENER_BACKLOG_MAX {
        waiting.push(server.connect(to).await.unwrap());
    }
    assert!(matches!(client.connect(to).await, Err(DialError::Overloaded)));
}

#[tokio::test]
async fn readers_that_are_slow_stop_no_others() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let mut stuck = Vec::new();
    // More than one connection's worth: some of these share theirs with the one that follows.
    for _ in 0..40 {
        let (mut ours, theirs) = world.connection(&client, &mut listener, to).await;
        fill(&mut ours).await;
        stuck.push((ours, theirs));
    }
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    let sent = vec![7; 4_000_000];
    let (_, mut heard) = (ours.local, Vec::new());
    let write = async {
        ours.write_all(&sent).await.unwrap();
        ours.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(write, theirs.read_to_end(&mut heard));
    assert_eq!(read.unwrap(), sent.len());
}

/// Writes until nothing is taken for a while: all buffers on the way are full, and they are few.
async fn fill(stream: &mut Stream) {
    let (chunk, mut written) = (vec![1; 16 * 1024], 0);
    while let Ok(wrote) = tokio::time::timeout(std::time::Duration::from_millis(20), stream.write(&chunk)).await {
        written += wrote.unwrap();
        assert!(written < 2 * 1024 * 1024, "buffers are bounded");
    }
}

#[tokio::test]
async fn single_bytes_that_nobody_reads_cost_no_connection() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    let (mut other, mut others) = world.connection(&client, &mut listener, to).await;
    for count in 0..150_000_u32 {
        std::future::poll_fn(|context| ours.writer.poll_writable(context)).await;
        ours.writer.try_write(vec![(count % 251) as u8].into()).unwrap();
    }
    other.write_all(b"x").await.unwrap();
    assert_eq!(others.read_u8().await.unwrap(), b'x');
    assert_eq!(world.nodes[B].accepted.load(Ordering::Relaxed), 1);
    drop(ours);
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    assert!(heard.len() == 150_000 && (0_u32..).zip(&heard).all(|(count, byte)| *byte == (count % 251) as u8));
}

#[tokio::test]
async fn clients_that_give_up_at_once_cost_no_connection() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let (mut ours, mut theirs) = world.connection(&client, &mut listener, to).await;
    for _ in 0..500 {
        // Asked for, and given up before the answer.
        let mut asked = Box::pin(client.connect(to));
        assert!(futures::poll!(asked.as_mut()).is_pending());
    }
    ours.write_all(b"x").await.unwrap();
    assert_eq!(theirs.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn many_streams_take_several_connections() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let (_server, mut listener, to) = world.server();
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(world.connection(&client, &mut listener, to).await);
    }
    let connections = world.nodes[B].accepted.load(Ordering::Relaxed);
    assert!((3..=16).contains(&connections), "{connections} connections for {} streams", open.len());
    for (ours, theirs) in &mut open {
        ours.write_all(b"x").await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), b'x');
    }
}
