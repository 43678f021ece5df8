//! Nodes that others cannot connect to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_vnet::{DialError, Namespace, Stream};

use crate::world::{A, B, C, World};

/// Nodes of which `b` and `c` cannot be connected to.
async fn hidden() -> World {
    let mut world = World::apart().await;
    for node in [B, C] {
        world.nodes[node].reach.endpoint = None;
        world.nodes[node].server.offer();
    }
    world.introduce(&[A, B, C]);
    world
}

/// A connection, once the other node has connected.
async fn offered(client: &Arc<Namespace>, to: SocketAddr) -> Stream {
    loop {
        match client.connect(to).await {
            Err(DialError::PeerUnreachable) => tokio::task::yield_now().await,
            connected => return connected.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_node_behind_nat_is_reached_over_connections_of_its_own() {
    let world = hidden().await;
    let (server, mut listener, to) = world.server();
    let client = world.pod(A, "client");
    let mut ours = offered(&client, to).await;
    let mut theirs = listener.accept().await.unwrap();
    ours.write_all(b"ahoy").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut text = String::new();
    theirs.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "ahoy");
    assert_eq!(world.nodes[B].accepted.load(Ordering::Relaxed), 0, "nobody connected to it");
    // It reaches others as any node does.
    let pod = world.pod(A, "pod");
    let mut listener = pod.listen("0.0.0.0:81".parse().unwrap()).unwrap();
    let _ours = server.connect(SocketAddr::new(pod.address(), 81)).await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn two_nodes_behind_nat_do_not_reach_each_other() {
    let world = hidden().await;
    let (_server, _listener, to) = world.server();
    drop(offered(&world.pod(A, "client"), to).await);
    assert!(matches!(world.pod(C, "client").connect(to).await, Err(DialError::PeerUnreachable)));
}

#[tokio::test]
async fn a_node_behind_nat_that_is_gone_is_reached_no_more_and_when_it_is_back() {
    let world = hidden().await;
    let (_server, _listener, to) = world.server();
    let client = world.pod(A, "client");
    drop(offered(&client, to).await);
    world.introduce(&[A, C]);
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
    world.introduce(&[A, B, C]);
    drop(offered(&client, to).await);
}
