//! Datagrams between pods of different nodes.

use std::net::SocketAddr;

use wherry_vnet::{Datagram, UdpSocket};

use crate::world::{A, B, World};

fn any() -> SocketAddr {
    "0.0.0.0:0".parse().unwrap()
}

async fn receive(socket: &mut UdpSocket) -> Datagram {
    std::future::poll_fn(|context| socket.poll_receivable(context)).await;
    socket.try_receive().unwrap()
}

#[tokio::test]
async fn datagrams_go_both_ways_whole() {
    let world = World::start().await;
    let (client, server) = (world.pod(A, "client"), world.pod(B, "server"));
    let (mut ours, mut theirs) = (client.bind_udp(any()).unwrap(), server.bind_udp(any()).unwrap());
    let to = SocketAddr::new(server.address(), theirs.local().port());
    for size in [0, 1, 65_507] {
        ours.send_to(vec![7; size].into(), to).unwrap();
        let datagram = receive(&mut theirs).await;
        assert_eq!(datagram.payload.len(), size);
        assert_eq!(datagram.from, SocketAddr::new(client.address(), ours.local().port()));
        theirs.send_to("answer".into(), datagram.from).unwrap();
        assert_eq!(receive(&mut ours).await, Datagram { from: to, payload: "answer".into() });
    }
}

#[tokio::test]
async fn the_node_itself_is_answered() {
    let world = World::start().await;
    let server = world.pod(B, "server");
    let mut node = world.nodes[A].network.bind_node_udp().unwrap();
    let mut theirs = server.bind_udp(any()).unwrap();
    node.send_to("ping".into(), SocketAddr::new(server.address(), theirs.local().port())).unwrap();
    let datagram = receive(&mut theirs).await;
    assert_eq!(datagram.from, node.local());
    theirs.send_to("pong".into(), datagram.from).unwrap();
    assert_eq!(receive(&mut node).await.payload, "pong");
}

#[tokio::test]
async fn a_flood_is_dropped_and_the_next_datagram_arrives() {
    let world = World::start().await;
    let (client, server) = (world.pod(A, "client"), world.pod(B, "server"));
    let (ours, mut theirs) = (client.bind_udp(any()).unwrap(), server.bind_udp(any()).unwrap());
    let to = SocketAddr::new(server.address(), theirs.local().port());
    for _ in 0..100_000 {
        ours.send_to("flood".into(), to).unwrap();
    }
    let first = receive(&mut theirs).await;
    assert_eq!(first.payload, "flood");
    let mut after = client.bind_udp(any()).unwrap();
    let mut other = server.bind_udp(any()).unwrap();
    // As UDP is used: asked until it is answered.
    loop {
        after.send_to("question".into(), SocketAddr::new(server.address(), other.local().port())).unwrap();
        if let Ok(datagram) = tokio::time::timeout(std::time::Duration::from_millis(50), receive(&mut other)).await {
            other.send_to("answer".into(), datagram.from).unwrap();
            break;
        }
    }
    assert_eq!(receive(&mut after).await.payload, "answer");
}

#[tokio::test]
async fn nobody_is_at_an_address_without_a_node() {
    let world = World::start().await;
    let client = world.pod(A, "client");
    let ours = client.bind_udp(any()).unwrap();
    let error = ours.send_to("x".into(), "10.150.0.2:53".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
}
