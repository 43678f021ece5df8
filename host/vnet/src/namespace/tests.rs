use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::network::NetworkConfig;
use crate::peers::Peers;
use crate::services::{NoServices, Services, Translation};
use crate::{Body, HttpHandler, LISTENER_BACKLOG_MAX, TryRead, Unanswered, full_body};

const SERVICE: &str = "10.96.0.10";

fn network(services: Arc<dyn Services>) -> Arc<Network> {
    let config = NetworkConfig {
        pod_cidr: "10.128.0.0/24".parse().unwrap(),
        cluster_cidr: "10.128.0.0/10".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
        node_ip: "192.168.1.1".parse().unwrap(),
    };
    Network::new(config, services)
}

fn pod(network: &Arc<Network>, name: &str) -> Arc<Namespace> {
    let identity = PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into() };
    network.namespace(identity, Egress::Denied).unwrap()
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Port 80 of the one Service is port 8080 of the first pod; its other ports have no endpoint.
struct OneService;

impl Services for OneService {
    fn translate(&self, _: Protocol, _: IpAddr, to: SocketAddr) -> Translation {
        match (to.ip().to_string().as_str(), to.port()) {
            (SERVICE, 80) => Translation::Endpoint(at("10.128.0.2:8080")),
            (SERVICE, 81) => Translation::Endpoint(at("127.0.0.1:22")),
            (SERVICE, _) => Translation::Refused,
            _ => Translation::Direct,
        }
    }

    fn resolve(&self, _: &str, name: &str) -> Resolution {
        match name {
            "web" => Resolution::Addresses(vec![SERVICE.parse().unwrap()]),
            "alias" => Resolution::Alias("web".into()),
            "loop" => Resolution::Alias("loop".into()),
            "none" => Resolution::Missing,
            _ => Resolution::Foreign,
        }
    }
}

#[test]
fn ports_conflict_as_in_a_kernel() {
    let check = |first: &str, second: &str, expected: Result<(), BindError>| {
        let pod = pod(&network(Arc::new(NoServices)), "a");
        let _held = pod.listen(at(first)).unwrap();
        assert_eq!(pod.listen(at(second)).map(drop), expected, "{first} {second}");
    };
    check("0.0.0.0:80", "127.0.0.1:80", Err(BindError::InUse));
    check("127.0.0.1:80", "0.0.0.0:80", Err(BindError::InUse));
    check("[::]:80", "10.128.0.2:80", Err(BindError::InUse));
    check("127.0.0.1:80", "10.128.0.2:80", Ok(()));
    check("127.0.0.1:80", "127.0.0.2:80", Ok(()));
    check("0.0.0.0:80", "0.0.0.0:81", Ok(()));
    check("0.0.0.0:80", "10.128.0.3:81", Err(BindError::NotLocal));
}

#[test]
fn udp_and_tcp_ports_are_apart_and_dropping_unbinds() {
    let pod = pod(&network(Arc::new(NoServices)), "a");
    let tcp = pod.listen(at("0.0.0.0:80")).unwrap();
    let udp = pod.bind_udp(at("0.0.0.0:80")).unwrap();
    assert_eq!(pod.bind_udp(at("127.0.0.1:80")).map(drop), Err(BindError::InUse));
    drop((tcp, udp));
    assert!(pod.listen(at("0.0.0.0:80")).is_ok());
    let picked = pod.listen(at("0.0.0.0:0")).unwrap().local().port();
    assert!(picked >= 32_768);
}

#[tokio::test]
async fn dials_by_what_the_address_means() {
    let network = network(Arc::new(OneService));
    let (server, client) = (pod(&network, "server"), pod(&network, "client"));
    let mut listener = server.listen(at("0.0.0.0:8080")).unwrap();
    let check = async |from: &Arc<Namespace>, to: &str, expected: &str| {
        let outcome = match from.connect(at(to)).await {
            Ok(stream) => format!("{} at {}", stream.local.ip(), stream.peer),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(outcome, expected, "{to}");
    };
    check(&client, "10.128.0.2:8080", "10.128.0.3 at 10.128.0.2:8080").await;
    check(&client, "10.96.0.10:80", "10.128.0.3 at 10.128.0.2:8080").await;
    check(&server, "127.0.0.1:8080", "127.0.0.1 at 127.0.0.1:8080").await;
    check(&server, "0.0.0.0:8080", "127.0.0.1 at 127.0.0.1:8080").await;
    check(&server, "10.128.0.2:8080", "10.128.0.2 at 10.128.0.2:8080").await;
    check(&client, "127.0.0.1:8080", "Refused").await;
    check(&client, "10.128.0.2:1", "Refused").await;
    check(&client, "10.96.0.10:9", "Refused").await;
    check(&client, "10.96.0.10:81", "Unreachable").await;
    check(&client, "10.96.0.99:80", "Unreachable").await;
    check(&client, "10.128.0.99:80", "Unreachable").await;
    check(&client, "10.130.0.1:80", "Unreachable").await;
    check(&client, "93.184.216.34:80", "Denied").await;
    check(&client, "192.168.1.1:22", "Denied").await;
    let seen = listener.accept().await.unwrap();
    assert_eq!(seen.peer.ip(), client.address());
    let dialed = network.dial(at("10.96.0.10:80")).await.unwrap();
    assert_eq!(dialed.local.ip(), network.config().node_ip);
}

#[tokio::test]
async fn the_backlog_is_bounded() {
    let pod = pod(&network(Arc::new(NoServices)), "a");
    let mut listener = pod.listen(at("127.0.0.1:80")).unwrap();
    let mut streams = Vec::new();
    for _ in 0..LISTENER_BACKLOG_MAX {
        streams.push(pod.connect(at("127.0.0.1:80")).await.unwrap());
    }
    assert!(matches!(pod.connect(at("127.0.0.1:80")).await, Err(DialError::Overloaded)));
    assert!(listener.try_accept().unwrap().is_some());
    assert!(pod.connect(at("127.0.0.1:80")).await.is_ok());
    drop(listener);
    assert_eq!(streams.last_mut().unwrap().reader.try_read(1), TryRead::Reset);
}

#[tokio::test]
async fn closing_listeners_spares_connections_and_closing_ends_them() {
    let network = network(Arc::new(NoServices));
    let (server, client) = (pod(&network, "server"), pod(&network, "client"));
    let to = SocketAddr::new(server.address(), 80);
    let mut listener = server.listen(at("0.0.0.0:80")).unwrap();
    let mut ours = client.connect(to).await.unwrap();
    let mut theirs = listener.accept().await.unwrap();

    server.close_listeners();
    assert!(listener.accept().await.is_none());
    assert!(matches!(client.connect(to).await, Err(DialError::Refused)));
    assert_eq!(server.listen(at("0.0.0.0:81")).map(drop), Err(BindError::Closed));
    ours.write_all(b"still").await.unwrap();
    assert_eq!(theirs.reader.try_read(9), TryRead::Data(Bytes::from_static(b"still")));

    server.close();
    assert_eq!(ours.reader.try_read(1), TryRead::Reset);
    assert_eq!(ours.write_all(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert!(matches!(client.connect(to).await, Err(DialError::Unreachable)));
    assert!(matches!(server.connect(SocketAddr::new(client.address(), 1)).await, Err(DialError::Refused)));
}

#[test]
fn addresses_come_back_when_the_last_handle_goes() {
    let network = network(Arc::new(NoServices));
    let held: Vec<_> = (0..253).map(|_| pod(&network, "p")).collect();
    let identity = held[0].pod().clone();
    assert!(network.namespace(identity.clone(), Egress::Denied).is_err());
    let address = held[7].address();
    drop(held);
    let first = network.namespace(identity, Egress::Denied).unwrap().address();
    assert_ne!(first, address);
    assert!(std::mem::size_of::<Namespace>() < 300);
}

#[tokio::test]
async fn names_are_resolved_here_and_foreign_ones_only_with_egress() {
    let network = network(Arc::new(OneService));
    let pod = pod(&network, "me");
    let check = async |name: &str, expected: Result<&str, Resolution>| {
        let expected = expected.map(|address| vec![address.parse::<IpAddr>().unwrap()]);
        assert_eq!(pod.resolve(name).await, expected, "{name}");
    };
    check("localhost", Ok("127.0.0.1")).await;
    check("me", Ok("10.128.0.2")).await;
    check("10.1.1.1", Ok("10.1.1.1")).await;
    check("web", Ok(SERVICE)).await;
    check("alias", Ok(SERVICE)).await;
    check("loop", Err(Resolution::Missing)).await;
    check("none", Err(Resolution::Missing)).await;
    check("example.com", Err(Resolution::Foreign)).await;
    pod.set_hosts(vec![("db.example.com".into(), [192, 0, 2, 1].into()), ("web".into(), [192, 0, 2, 2].into())]);
    check("DB.example.com.", Ok("192.0.2.1")).await;
    check("web", Ok("192.0.2.2")).await;
    check("example.com", Err(Resolution::Foreign)).await;
}

struct Hello;

#[async_trait]
impl HttpHandler for Hello {
    async fn handle(&self, _: ::http::Request<Body>) -> Result<::http::Response<Body>, Unanswered> {
        Ok(::http::Response::new(full_body("hello")))
    }
}

#[test]
fn handlers_come_and_go_with_their_port() {
    let network = network(Arc::new(NoServices));
    let pod = pod(&network, "a");
    let to = SocketAddr::new(pod.address(), 80);
    let listener = pod.listen_http(80, Arc::new(Hello)).unwrap();
    assert!(network.handler(to).is_some());
    assert!(pod.listen_http(80, Arc::new(Hello)).is_err());
    drop(listener);
    assert!(network.handler(to).is_none());
    let _listener = pod.listen_http(80, Arc::new(Hello)).unwrap();
    pod.close_listeners();
    assert!(network.handler(to).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_gate_closes_to_each_pod_when_its_patience_is_over() {
    use std::time::Duration;
    let network = network(Arc::new(NoServices));
    let pods = [Some(0), Some(1), None].map(|patience| {
        let pod = pod(&network, "p");
        patience.into_iter().for_each(|seconds| pod.set_patience(Duration::from_secs(seconds)));
        let listener = pod.listen_http(80, Arc::new(Hello)).unwrap();
        (pod, listener)
    });
    let reached = async || {
        let mut all = Vec::new();
        for (pod, _) in &pods {
            let to = SocketAddr::new(pod.address(), 80);
            let (handler, dialed) = (network.handler(to).is_some(), network.dial(to).await.is_ok());
            assert_eq!(handler, dialed);
            all.push(dialed);
        }
        all
    };
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert_eq!(reached().await, [true, true, true], "nobody has said anything");
    network.gate().close_at(tokio::time::Instant::now() + Duration::from_secs(2));
    for (passed_millis, expected) in
        [(1_999, [true, true, true]), (1, [false, true, true]), (1_000, [false, false, true])]
    {
        tokio::time::advance(Duration::from_millis(passed_millis)).await;
        assert_eq!(reached().await, expected);
    }
    network.gate().close_at(tokio::time::Instant::now() + Duration::from_secs(2));
    assert_eq!(reached().await, [true, true, true]);
}

#[tokio::test]
async fn datagrams_reach_services_and_answers_keep_the_services_address() {
    let network = network(Arc::new(OneService));
    let (server, client) = (pod(&network, "server"), pod(&network, "client"));
    let mut echo = server.bind_udp(at("0.0.0.0:8080")).unwrap();
    let mut socket = client.bind_udp(at("0.0.0.0:0")).unwrap();
    let service = at("10.96.0.10:80");
    for _ in 0..2 {
        socket.send_to("ping".into(), service).unwrap();
        let datagram = echo.try_receive().unwrap();
        assert_eq!(datagram.from, SocketAddr::new(client.address(), socket.local().port()));
        echo.send_to(datagram.payload, datagram.from).unwrap();
        assert_eq!(socket.try_receive(), Some(crate::Datagram { from: service, payload: "ping".into() }));
    }
    let error = |to: &str| socket.send_to("x".into(), at(to)).unwrap_err().kind();
    assert_eq!(error("10.96.0.10:9"), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(error("10.128.0.77:9"), std::io::ErrorKind::HostUnreachable);
    assert_eq!(error("8.8.8.8:53"), std::io::ErrorKind::PermissionDenied);
    (0..1000).for_each(|_| drop(socket.send_to("flood".into(), service)));
    assert_eq!(std::iter::from_fn(|| echo.try_receive()).count(), 256);
}

#[tokio::test]
async fn egress_is_bridged_to_a_kernel_socket() {
    let kernel = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let network = network(Arc::new(NoServices));
    let mut ours = network.dial(kernel.local_addr().unwrap()).await.unwrap();
    let (mut theirs, _) = kernel.accept().await.unwrap();
    ours.write_all(b"question").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut text = String::new();
    theirs.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "question");
    theirs.write_all(b"answer").await.unwrap();
    drop(theirs);
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), ours.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text, "answer");
}

/// A Service whose endpoints come one after the other as they fail; the last one is on another node.
#[derive(Default)]
struct Endpoints(Mutex<Vec<String>>);

const ENDPOINTS: [&str; 3] = ["10.128.0.2:8080", "10.128.0.99:8080", "10.129.0.2:8080"];

impl Services for Endpoints {
    fn translate(&self, _: Protocol, _: IpAddr, to: SocketAddr) -> Translation {
        let failed = self.0.lock().unwrap().len();
        if to == at("10.96.0.10:80") {
            return Translation::Endpoint(at(ENDPOINTS[failed.min(2)]));
        }
        Translation::Direct
    }

    fn failed(&self, to: SocketAddr, endpoint: SocketAddr, why: &DialError) {
        self.0.lock().unwrap().push(format!("{to} {endpoint} {why}"));
    }

    fn serves(&self, _: SocketAddr, endpoint: SocketAddr) -> bool {
        endpoint == at(ENDPOINTS[2])
    }

    fn resolve(&self, _: &str, _: &str) -> Resolution {
        Resolution::Foreign
    }
}

/// Other nodes, at which everything arrives and nothing answers.
#[derive(Default)]
struct Others {
    carried: Mutex<Vec<Stream>>,
    sent: Mutex<Vec<(SocketAddr, SocketAddr, Bytes)>>,
}

#[async_trait]
impl Peers for Others {
    async fn carry(&self, connection: Stream) -> Result<(), DialError> {
        if connection.local.port() == 1 {
            return Err(DialError::Refused);
        }
        self.carried.lock().unwrap().push(connection);
        Ok(())
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> std::io::Result<()> {
        self.sent.lock().unwrap().push((from, to, payload));
        Ok(())
    }
}

#[tokio::test]
async fn addresses_of_other_nodes_are_carried_there() {
    let others = Arc::new(Others::default());
    let config = network(Arc::new(NoServices)).config().clone();
    let network = Network::among(config, Arc::new(NoServices), Arc::<Others>::clone(&others));
    let client = pod(&network, "client");
    let mut ours = client.connect(at("10.129.0.2:80")).await.unwrap();
    let mut theirs = others.carried.lock().unwrap().pop().unwrap();
    assert_eq!((theirs.local, theirs.peer.ip()), (at("10.129.0.2:80"), client.address()));
    ours.write_all(b"x").await.unwrap();
    assert_eq!(theirs.reader.try_read(9), TryRead::Data("x".into()));
    assert!(matches!(client.connect(at("10.129.0.2:1")).await, Err(DialError::Refused)));
    let dialed = network.dial(at("10.129.0.2:80")).await.unwrap();
    assert_eq!(others.carried.lock().unwrap().pop().unwrap().peer, dialed.local);
    // Own addresses that nobody has are nobody's, and the world is none of the peers'.
    assert!(matches!(client.connect(at("10.128.0.77:80")).await, Err(DialError::Unreachable)));
    assert!(matches!(client.connect(at("8.8.8.8:80")).await, Err(DialError::Denied)));
    client.close();
    assert_eq!(theirs.reader.try_read(9), TryRead::Reset);
    assert!(matches!(client.connect(at("10.129.0.2:80")).await, Err(DialError::Unreachable)));
}

#[tokio::test]
async fn what_comes_from_another_node_reaches_pods_only() {
    let network = network(Arc::new(OneService));
    let server = pod(&network, "server");
    let mut listener = server.listen(at("0.0.0.0:8080")).unwrap();
    let mut socket = server.bind_udp(at("0.0.0.0:53")).unwrap();
    let from = at("10.129.0.2:40000");
    let check = async |to: &str, expected: &str| {
        let outcome = network.open(from, at(to)).await.map(drop);
        assert_eq!(format!("{outcome:?}"), expected, "{to}");
    };
    check("10.128.0.2:8080", "Ok(())").await;
    check("10.128.0.2:81", "Err(Refused)").await;
    check("10.96.0.10:80", "Err(Unreachable)").await;
    check("127.0.0.1:8080", "Err(Unreachable)").await;
    check("192.168.1.1:22", "Err(Unreachable)").await;
    assert_eq!(listener.accept().await.unwrap().peer, from);
    network.receive(from, at("127.0.0.1:53"), "lost".into());
    network.receive(from, at("10.128.0.2:53"), "found".into());
    assert_eq!(socket.try_receive(), Some(crate::Datagram { from, payload: "found".into() }));
}

#[tokio::test]
async fn an_endpoint_that_fails_gives_way_to_the_next_at_once() {
    let (services, others) = (Arc::new(Endpoints::default()), Arc::new(Others::default()));
    let config = network(Arc::new(NoServices)).config().clone();
    let network = Network::among(config, Arc::<Endpoints>::clone(&services), Arc::<Others>::clone(&others));
    let (_listens_not, client) = (pod(&network, "server"), pod(&network, "client"));
    let stream = client.connect(at("10.96.0.10:80")).await.unwrap();
    assert_eq!(stream.peer, at(ENDPOINTS[2]));
    let failed = services.0.lock().unwrap().clone();
    let refused = "10.96.0.10:80 10.128.0.2:8080 connection refused";
    assert_eq!(failed, [refused, "10.96.0.10:80 10.128.0.99:8080 no route to host"]);
}

#[tokio::test]
async fn datagrams_to_a_service_on_another_node_keep_to_their_endpoint() {
    let (services, others) = (Arc::new(Endpoints::default()), Arc::new(Others::default()));
    let config = network(Arc::new(NoServices)).config().clone();
    let network = Network::among(config, Arc::<Endpoints>::clone(&services), Arc::<Others>::clone(&others));
    services.0.lock().unwrap().extend(["first gone".into(), "second gone".into()]);
    let client = pod(&network, "client");
    let mut socket = client.bind_udp(at("0.0.0.0:5000")).unwrap();
    let service = at("10.96.0.10:80");
    for _ in 0..2 {
        socket.send_to("ping".into(), service).unwrap();
        let sent = others.sent.lock().unwrap().pop().unwrap();
        assert_eq!(sent, (SocketAddr::new(client.address(), 5000), at(ENDPOINTS[2]), "ping".into()));
        // Another endpoint would be chosen now, were this one not still serving.
        services.0.lock().unwrap().clear();
    }
    network.receive(at(ENDPOINTS[2]), SocketAddr::new(client.address(), 5000), "pong".into());
    assert_eq!(socket.try_receive(), Some(crate::Datagram { from: service, payload: "pong".into() }));
}
