//! Datagrams: between containers and pods, between containers and modules of a pod, and what is refused.

use std::io::ErrorKind;

use wherry_vnet::{Datagram, UdpSocket};

use crate::pattern;
use crate::world::{MIXED, PLAIN, SERVICE, World, at};

async fn receive(socket: &mut UdpSocket) -> Datagram {
    std::future::poll_fn(|context| socket.poll_receivable(context)).await;
    socket.try_receive().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_pods_exchange_datagrams() {
    let Some(world) = World::new() else { return };
    let mut pod = world.plain.bind_udp(at("0.0.0.0", 8080)).unwrap();
    let container = world.containers.udp("0.0.0.0:9000").unwrap();
    let mut buffer = vec![0; 70_000];
    // To a pod and to a Service: the answer comes from who was asked.
    for to in [at(PLAIN, 8080), at(SERVICE, 80)] {
        container.send_to(b"question", to).await.unwrap();
        let Datagram { from, payload } = receive(&mut pod).await;
        assert_eq!((from, &payload[..]), (at(MIXED, 9000), &b"question"[..]), "{to}");
        pod.send_to("answer".into(), from).unwrap();
        let (length, from) = container.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"answer"[..], to));
    }
    // From a pod that was not asked, and the largest there is.
    let sent = pattern(65_507);
    let mut other = world.plain.bind_udp(at("0.0.0.0", 7)).unwrap();
    other.send_to(sent.clone().into(), at(MIXED, 9000)).unwrap();
    let (length, from) = container.recv_from(&mut buffer).await.unwrap();
    assert!(buffer[..length] == sent && from == at(PLAIN, 7));
    container.send_to(&sent, from).await.unwrap();
    assert!(receive(&mut other).await.payload == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_modules_exchange_datagrams() {
    let Some(world) = World::new() else { return };
    let mut module = world.mixed.bind_udp(at("0.0.0.0", 53)).unwrap();
    let container = world.containers.udp("0.0.0.0:9000").unwrap();
    let mut buffer = [0; 100];
    for ip in ["127.0.0.1", MIXED] {
        container.send_to(b"question", at(ip, 53)).await.unwrap();
        let Datagram { from, payload } = receive(&mut module).await;
        assert_eq!((from, &payload[..]), (at(ip, 9000), &b"question"[..]));
        module.send_to("answer".into(), from).unwrap();
        let (length, from) = container.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"answer"[..], at(ip, 53)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_told_what_is_not_delivered() {
    let Some(world) = World::new() else { return };
    let check = async |ip: &str, expected: ErrorKind| {
        let socket = world.containers.udp("0.0.0.0:0").unwrap();
        socket.connect(at(ip, 9)).await.unwrap();
        socket.send(b"x").await.unwrap();
        assert_eq!(socket.recv(&mut [0; 1]).await.unwrap_err().kind(), expected, "{ip}");
    };
    check(PLAIN, ErrorKind::ConnectionRefused).await;
    check(SERVICE, ErrorKind::ConnectionRefused).await;
    check("93.184.216.34", ErrorKind::HostUnreachable).await;
}
