//! Sockets over the pod network: localhost, other pods, names, datagrams, and what is refused.

use std::net::SocketAddr;

use bytes::Bytes;
use wherry_vnet::Datagram;

use crate::node::{Guest, Pod, name, run};

async fn call(pod: &Pod, address: &str, image: &'static str, word: &'static str) -> (i32, String) {
    let caller = pod.start(Guest::new(image, &[word, address])).await;
    (caller.container.exited().await.code, caller.log.text())
}

#[test]
fn containers_of_a_pod_share_localhost_and_ports() {
    run(async {
        let (pod, other) = (Pod::new(), Pod::new());
        let server = pod.start(Guest::new("echo-tcp", &[]).env("POD_NAME", "own")).await;
        server.says("listening").await;
        let client = pod.start(Guest::new("call-service", &["localhost:7000", "ahoy"])).await;
        assert_eq!(client.container.exited().await.code, 0, "{}", client.log.text());
        assert!(client.log.text().contains("answered: ahoy (own)"));
        let (code, log) = call(&other, "127.0.0.1:7000", "misbehave", "forbidden-connect").await;
        assert_eq!((code, log.as_str()), (1, "127.0.0.1:7000: ConnectionRefused\n"));
        let rival = pod.start(Guest::new("echo-tcp", &[])).await;
        assert_eq!(rival.container.exited().await.code, 1);
        assert!(rival.log.text().contains("AddrInUse"), "{}", rival.log.text());
        server.container.kill();
    });
}

#[test]
fn pods_reach_one_another_by_address_and_name() {
    run(async {
        let (server_pod, client_pod) = (Pod::new(), Pod::new());
        let server = server_pod.start(Guest::new("echo-tcp", &[]).env("POD_NAME", "server")).await;
        server.says("listening").await;
        name("quay", server_pod.network.address());
        for address in [server_pod.at(7000).to_string(), "quay:7000".into()] {
            let client = client_pod.start(Guest::new("call-service", &[&address, "ahoy"])).await;
            assert_eq!(client.container.exited().await.code, 0, "{}", client.log.text());
            assert!(client.log.text().contains("answered: ahoy (server)"), "{}", client.log.text());
        }
        server.container.kill();
    });
}

#[test]
fn what_is_not_there_or_not_allowed_is_refused_at_once() {
    run(async {
        let pod = Pod::new();
        let nobody = Pod::new().at(1).to_string();
        for (address, kind) in [
            ("192.0.2.1:80", "PermissionDenied"),
            ("127.0.0.1:9", "ConnectionRefused"),
            (&nobody, "HostUnreachable"),
            ("10.96.0.77:80", "HostUnreachable"),
        ] {
            let (code, log) = call(&pod, address, "misbehave", "forbidden-connect").await;
            assert_eq!((code, log), (1, format!("{address}: {kind}\n")));
        }
        for unknown in ["nowhere:80", "example.com:80"] {
            let (code, log) = call(&pod, unknown, "misbehave", "forbidden-connect").await;
            assert_eq!(code, 1, "{log}");
        }
    });
}

#[test]
fn datagrams_go_and_come() {
    run(async {
        let (server_pod, client_pod) = (Pod::new(), Pod::new());
        let server = server_pod.start(Guest::new("echo-udp", &[]).env("POD_NAME", "server")).await;
        server.says("listening").await;
        let answer = exchange(&client_pod, server_pod.at(7000), b"ahoy").await;
        assert_eq!((answer.from, &answer.payload[..]), (server_pod.at(7000), &b"ahoy (server)"[..]));
        server.container.kill();
    });
}

#[test]
fn sockets_of_wasi_03_are_the_same_network() {
    run(async {
        let (pod, other) = (Pod::new(), Pod::new());
        let server = pod.start(Guest::new("echo3", &["serve", "7000"]).env("POD_NAME", "third")).await;
        server.says("listening").await;
        name("third-quay", pod.network.address());
        for (from, host) in [(&pod, "localhost"), (&other, "third-quay")] {
            for kind in ["tcp", "udp"] {
                let client = from.start(Guest::new("echo3", &[kind, host, "7000", "ahoy"])).await;
                assert_eq!(client.container.exited().await.code, 0, "{kind} {host}: {}", client.log.text());
                assert_eq!(client.log.text(), "answered: ahoy (third)\n", "{kind} {host}");
            }
        }
        let much = "x".repeat(6 << 20);
        let client = other.start(Guest::new("echo3", &["tcp", "third-quay", "7000", &much])).await;
        assert_eq!(client.container.exited().await.code, 0, "{}", client.log.text());
        assert_eq!(client.log.text().len(), format!("answered: {much} (third)\n").len());
        let plain = other.start(Guest::new("misbehave", &["forbidden-connect", "third-quay:7000"])).await;
        assert_eq!(plain.container.exited().await.code, 0, "0.2 reaches 0.3: {}", plain.log.text());
        assert_eq!(exchange(&other, pod.at(7000), b"ahoy").await.payload, "ahoy (third)\n");
        server.container.stop();
        assert_eq!(server.container.exited().await.code, 0, "{}", server.log.text());
        assert!(server.log.text().contains("asked to stop"));
    });
}

#[test]
fn sockets_of_wasi_03_are_refused_alike() {
    run(async {
        let pod = Pod::new();
        for (kind, host, port, said) in [
            ("tcp", "192.0.2.1", "80", "connect: ErrorCode::AccessDenied"),
            ("tcp", "localhost", "9", "connect: ErrorCode::ConnectionRefused"),
            ("tcp", "nowhere", "80", "resolve: ErrorCode::NameUnresolvable"),
            ("tcp", "example.com", "80", "resolve: ErrorCode::AccessDenied"),
            ("udp", "192.0.2.1", "80", "send: ErrorCode::AccessDenied"),
            ("udp", "localhost", "9", "send: ErrorCode::ConnectionRefused"),
        ] {
            let client = pod.start(Guest::new("echo3", &[kind, host, port, "ahoy"])).await;
            assert_eq!(client.container.exited().await.code, 1, "{kind} {host}: {}", client.log.text());
            assert_eq!(client.log.text().trim_end(), said, "{kind} {host}");
        }
        let server = pod.start(Guest::new("echo-tcp", &[])).await;
        server.says("listening").await;
        let rival = pod.start(Guest::new("echo3", &["serve", "7000"])).await;
        assert_eq!(rival.container.exited().await.code, 1);
        assert_eq!(rival.log.text().trim_end(), "bind: ErrorCode::AddressInUse");
        server.container.kill();
    });
}

/// Sends one datagram and waits for one.
pub async fn exchange(pod: &Pod, to: SocketAddr, payload: &'static [u8]) -> Datagram {
    let mut socket = pod.network.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
    socket.send_to(Bytes::from_static(payload), to).unwrap();
    std::future::poll_fn(|context| socket.poll_receivable(context)).await;
    socket.try_receive().unwrap()
}
