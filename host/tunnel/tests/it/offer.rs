//! Nodes that others cannot connect to.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_vnet::{DialError, Namespace, Stream};

use crate::world::{A, B, C, World};

/// Nodes of which `b` and `c` cannot be connected to.
async fn hidden() -> World {
    let world = World::with_hidden(&[B, C]).await;
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
async fn two_nodes_behind_nat_reach_each_other_by_way_of_a_third() {
    let world = hidden().await;
    let (_server, mut listener, to) = world.server();
    let client = world.pod(C, "client");
    let mut ours = offered(&client, to).await;
    let mut theirs = listener.accept().await.unwrap();
    assert_eq!(theirs.peer.ip(), client.address());
    assert!(world.nodes[A].accepted.load(Ordering::Relaxed) > 0);
    let sent = vec![7; 3_000_000];
    let (told, heard) = tokio::join!(
        async {
            ours.write_all(&sent).await.unwrap();
            ours.shutdown().await.unwrap();
            let mut text = String::new();
            ours.read_to_string(&mut text).await.unwrap();
            text
        },
        async {
            let mut bytes = Vec::new();
            theirs.read_to_end(&mut bytes).await.unwrap();
            theirs.write_all(b"aye").await.unwrap();
            theirs.shutdown().await.unwrap();
            bytes
        }
    );
    assert!(told == "aye" && heard == sent);
    // Without the third there is no way.
    let mut open = offered(&client, to).await;
    world.introduce(&[B, C]);
    assert_eq!(open.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
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
