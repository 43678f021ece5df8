//! What a node may ask of another, and what not, whatever it says.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wherry_base::Trigger;
use wherry_vnet::DialError;

use crate::world::{A, B, C, World, issue};

/// A hostile node `a`, at the door of `b`.
struct Hostile {
    requests: SendRequest<Bytes>,
    _trigger: Trigger,
}

impl Hostile {
    async fn at(world: &World) -> Self {
        let mut tls = world.nodes[A].client.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(world.nodes[B].reach.endpoint.unwrap()).await.unwrap();
        let name = ServerName::try_from("b").unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let trigger = Trigger::new();
        trigger.drain().spawn(async move { drop(connection.await) });
        Self { requests, _trigger: trigger }
    }

    async fn ask(&self, request: Request<()>) -> (StatusCode, SendStream<Bytes>, RecvStream) {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, send) = requests.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        (response.status(), send, response.into_body())
    }

    async fn connect(&self, to: &str, from: Option<&str>) -> u16 {
        let mut request = Request::builder().method(Method::CONNECT).uri(to);
        if let Some(from) = from {
            request = request.header("wherry-client", from);
        }
        self.ask(request.body(()).unwrap()).await.0.as_u16()
    }
}

#[tokio::test]
async fn only_pods_of_the_node_are_opened_and_only_for_pods_of_the_caller() {
    let world = World::start().await;
    let (_server, _listener, to) = world.server();
    let (c, to) = (world.pod(C, "other"), to.to_string());
    let _listening = c.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    let kernel = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kernel = kernel.local_addr().unwrap().to_string();
    let hostile = Hostile::at(&world).await;
    let own = Some("10.128.0.2:40000");
    assert_eq!(hostile.connect(&to, own).await, 200);
    assert_eq!(hostile.connect(&to, Some("10.128.0.1:40000")).await, 200, "the node itself");
    assert_eq!(hostile.connect(&to, Some("10.130.0.2:40000")).await, 403, "another node's pod");
    assert_eq!(hostile.connect(&to, Some("10.129.0.2:40000")).await, 403, "a pod of the node that is asked");
    assert_eq!(hostile.connect(&to, Some("127.0.0.1:40000")).await, 403);
    assert_eq!(hostile.connect(&to, None).await, 400);
    assert_eq!(hostile.connect("10.130.0.2:80", own).await, 404, "a pod of a third node");
    assert_eq!(hostile.connect("10.96.0.1:80", own).await, 404, "a Service");
    assert_eq!(hostile.connect("10.129.0.1:10250", own).await, 404, "the node");
    assert_eq!(hostile.connect(&kernel, own).await, 404, "the machine");
    assert_eq!(hostile.connect("example.com:80", own).await, 400, "the world");
    let get = Request::builder().uri("https://10.129.0.2/pods").body(()).unwrap();
    assert_eq!(hostile.ask(get).await.0, 405);
}

#[tokio::test]
async fn datagrams_come_from_pods_of_the_caller_only() {
    let world = World::start().await;
    let server = world.pod(B, "server");
    let mut socket = server.bind_udp("0.0.0.0:53".parse().unwrap()).unwrap();
    let to = SocketAddr::new(server.address(), 53);
    let hostile = Hostile::at(&world).await;
    let mut frames = BytesMut::new();
    frame(&mut frames, "10.130.0.2:1", to, b"forged");
    frame(&mut frames, "10.128.0.2:1", "127.0.0.1:53".parse().unwrap(), b"lost");
    frame(&mut frames, "10.128.0.2:1", to, b"true");
    let request = Request::builder().method(Method::CONNECT).uri("datagrams:0").body(()).unwrap();
    let (status, mut send, _receive) = hostile.ask(request).await;
    assert_eq!(status, 200);
    send.send_data(frames.freeze(), false).unwrap();
    std::future::poll_fn(|context| socket.poll_receivable(context)).await;
    assert_eq!(socket.try_receive().unwrap().payload, "true");
}

fn frame(into: &mut BytesMut, from: &str, to: SocketAddr, payload: &[u8]) {
    into.put_u16(payload.len().try_into().unwrap());
    for address in [from.parse().unwrap(), to] {
        let std::net::IpAddr::V4(ip) = SocketAddr::ip(&address) else { panic!("{address}") };
        into.put_slice(&ip.to_ipv6_mapped().octets());
        into.put_u16(address.port());
    }
    into.put_slice(payload);
}

#[tokio::test]
async fn a_node_at_the_address_of_another_is_not_believed() {
    let mut world = World::apart().await;
    world.nodes[B].reach.endpoint = world.nodes[C].reach.endpoint;
    world.introduce(&[A, B, C]);
    let client = world.pod(A, "client");
    let (_server, _listener, to) = world.server();
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let world = World::start().await;
    let foreign = wherry_pki::Authority::generate("foreign", jiff::Timestamp::UNIX_EPOCH).unwrap();
    let own = issue(&foreign, "a");
    let mut tls = wherry_pki::client_config(&own, &world.authority.certificate()).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(world.nodes[B].reach.endpoint.unwrap()).await.unwrap();
    let name = ServerName::try_from("b").unwrap();
    // In TLS 1.3 a client hears of it with its first read.
    let Ok(stream) = TlsConnector::from(Arc::new(tls)).connect(name, stream).await else { return };
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let request = Request::builder().method(Method::CONNECT).uri("datagrams:0").body(()).unwrap();
    let (response, _send) = requests.send_request(request, false).unwrap();
    let (ended, answered) = tokio::join!(connection, response);
    assert!(ended.is_err() && answered.is_err());
}

#[tokio::test]
async fn a_node_that_is_no_peer_is_not_served() {
    let world = World::apart().await;
    // `a` knows `b`, which does not know `a`.
    world.nodes[A].tunnels.set_peers([("b", world.nodes[B].reach.clone())]);
    let client = world.pod(A, "client");
    let (_server, _listener, to) = world.server();
    assert!(matches!(client.connect(to).await, Err(DialError::PeerUnreachable)));
}
