//! Connections between containers and pods: who is seen, what is refused, ends, resets, much and many.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_vnet::DialError;

use crate::world::{HAIRPIN, MIXED, PLAIN, SERVICE, World, at};
use crate::{echo, exchange, pattern};

const BIG: usize = 60 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_reaches_pods_and_services() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    for to in [at(PLAIN, 8080), at(SERVICE, 80)] {
        let client = world.containers.connect(to);
        let server = async {
            let stream = listener.accept().await.unwrap();
            assert_eq!((stream.peer.ip(), stream.local), (world.mixed.address(), at(PLAIN, 8080)));
            echo(stream).await;
        };
        let said = async { exchange(client.await.unwrap(), "hello").await.unwrap() };
        let (heard, ()) = tokio::join!(said, server);
        assert_eq!(heard, "hello", "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_the_node_reach_a_container_as_who_they_are() {
    let Some(world) = World::new() else { return };
    let listener = world.containers.listen("0.0.0.0:8080");
    let to = at(MIXED, 8080);
    let server = async |expected: std::net::SocketAddr| {
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, expected);
        echo(stream).await;
    };
    let ours = world.plain.connect(to).await.unwrap();
    assert_eq!(ours.local.ip(), world.plain.address());
    let from = ours.local;
    assert_eq!(tokio::join!(exchange(ours, "pod"), server(from)).0.unwrap(), "pod");
    let ours = world.network.dial(to).await.unwrap();
    let from = ours.local;
    assert_eq!(from.ip(), world.network.config().node_ip);
    assert_eq!(tokio::join!(exchange(ours, "node"), server(from)).0.unwrap(), "node");
    let from = at("10.129.0.9", 4000);
    let ours = world.network.open(from, to).await.unwrap();
    assert_eq!(tokio::join!(exchange(ours, "far"), server(from)).0.unwrap(), "far");
    // The same client's port once more, while the first connection is there.
    let [first, second] = [world.network.open(from, to).await.unwrap(), world.network.open(from, to).await.unwrap()];
    let (a, b) = (listener.accept().await.unwrap().1, listener.accept().await.unwrap().1);
    assert!(a.ip() == b.ip() && a != b);
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_refused_what_the_pod_network_refuses() {
    let Some(world) = World::new() else { return };
    let check = async |ip: &str, port: u16, expected: ErrorKind| {
        let refused = world.containers.connect(at(ip, port)).await.unwrap_err();
        assert_eq!(refused.kind(), expected, "{ip}:{port}");
    };
    check(PLAIN, 1, ErrorKind::ConnectionRefused).await;
    check(SERVICE, 9, ErrorKind::ConnectionRefused).await;
    check("10.96.9.9", 80, ErrorKind::HostUnreachable).await;
    check("10.128.0.99", 80, ErrorKind::HostUnreachable).await;
    check("93.184.216.34", 80, ErrorKind::HostUnreachable).await;
    check("192.168.1.1", 22, ErrorKind::HostUnreachable).await;
    let refused = world.plain.connect(at(MIXED, 1)).await;
    assert!(matches!(refused, Err(DialError::Refused)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_reaches_itself_through_a_service() {
    let Some(world) = World::new() else { return };
    let listener = world.containers.listen("0.0.0.0:8080");
    let ours = world.containers.connect(at(HAIRPIN, 80));
    let server = async { echo(listener.accept().await.unwrap().0).await };
    let (heard, ()) = tokio::join!(async { exchange(ours.await.unwrap(), "me").await }, server);
    assert_eq!(heard.unwrap(), "me");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closes_go_both_ways() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let mut container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let mut pod = listener.accept().await.unwrap();
    container.write_all(b"question").await.unwrap();
    container.shutdown().await.unwrap();
    let mut heard = String::new();
    pod.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    pod.write_all(b"answer").await.unwrap();
    pod.shutdown().await.unwrap();
    heard.clear();
    container.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "answer");

    let mut container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let mut pod = listener.accept().await.unwrap();
    pod.shutdown().await.unwrap();
    assert_eq!(container.read(&mut [0; 1]).await.unwrap(), 0);
    container.write_all(b"late").await.unwrap();
    drop(container);
    heard.clear();
    pod.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_go_both_ways() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let mut container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let pod = listener.accept().await.unwrap();
    pod.abort();
    assert_eq!(container.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let mut pod = listener.accept().await.unwrap();
    container.set_zero_linger().unwrap();
    drop(container);
    assert_eq!(pod.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_sent_whole_both_ways_at_once() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let pod = listener.accept().await.unwrap();
    let sent = pattern(BIG);
    let (mut read_a, mut write_a) = tokio::io::split(container);
    let (mut read_b, mut write_b) = tokio::io::split(pod);
    let send = async |writer: &mut (dyn tokio::io::AsyncWrite + Unpin + Send)| {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let (mut heard_a, mut heard_b) = (Vec::new(), Vec::new());
    let (_, _, a, b) = tokio::join!(
        send(&mut write_a),
        send(&mut write_b),
        read_a.read_to_end(&mut heard_a),
        read_b.read_to_end(&mut heard_b)
    );
    assert_eq!((a.unwrap(), b.unwrap()), (BIG, BIG));
    assert!(heard_a == sent && heard_b == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_read_must_wait() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let mut container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let mut pod = listener.accept().await.unwrap();
    let sent = pattern(BIG);
    let mut written = 0;
    while let Ok(wrote) =
        tokio::time::timeout(std::time::Duration::from_millis(300), container.write(&sent[written..])).await
    {
        written += wrote.unwrap();
        assert!(written < 20 * 1024 * 1024, "buffers are bounded");
    }
    let mut heard = vec![0; written];
    pod.read_exact(&mut heard).await.unwrap();
    assert!(heard == sent[..written]);
    container.write_all(b"on").await.unwrap();
    pod.read_exact(&mut heard[..2]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_connections_each_way() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let inner = world.containers.listen("0.0.0.0:8081");
    let pods = tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let containers = tokio::spawn(async move {
        while let Ok((stream, _)) = inner.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let mut all = Vec::new();
    for number in 0..500 {
        let outward = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
        let inward = world.plain.connect(at(MIXED, 8081)).await.unwrap();
        all.push((number, outward, inward));
    }
    for (number, outward, inward) in all {
        let words = number.to_string();
        assert_eq!(exchange(outward, &words).await.unwrap(), words);
        assert_eq!(exchange(inward, &words).await.unwrap(), words);
    }
    pods.abort();
    containers.abort();
}
