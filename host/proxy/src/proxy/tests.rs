//! The whole proxy over an API in memory, asked through kernel sockets on ports of the kernel's choice.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::serde_json::{self, Value, json};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::broadcast;
use wherry_api::{Error, Resource};
use wherry_base::{SystemClock, Trigger};
use wherry_client::{EventKind, RawEvent, RawWatch, Request, Transport, WatchOptions};
use wherry_vnet::{Egress, Namespace, NetworkConfig, PodIdentity};

use super::*;

/// Lists are empty; a watch shows what is put from then on, and what was put before.
struct FakeApi {
    put: Mutex<HashMap<&'static str, Vec<Value>>>,
    news: broadcast::Sender<(&'static str, Value)>,
}

#[async_trait]
impl Transport for FakeApi {
    async fn send(&self, _: Request) -> Result<Bytes, Error> {
        Ok(Bytes::from_static(br#"{"metadata": {"resourceVersion": "1"}, "items": []}"#))
    }

    async fn watch(&self, kind: &'static Resource, _: Option<String>, _: WatchOptions) -> Result<RawWatch, Error> {
        let put = self.put.lock().unwrap();
        let before = put.get(kind.plural).cloned().unwrap_or_default();
        let news = self.news.subscribe();
        drop(put);
        let after = futures::stream::unfold(news, move |mut news| async move {
            loop {
                let (plural, object) = news.recv().await.ok()?;
                if plural == kind.plural {
                    return Some((object, news));
                }
            }
        });
        let event = |object: Value| {
            Ok(RawEvent { kind: EventKind::Modified, object: serde_json::to_vec(&object).unwrap().into() })
        };
        Ok(futures::stream::iter(before).chain(after).map(event).boxed())
    }
}

struct World {
    api: Arc<FakeApi>,
    network: Arc<Network>,
    http: SocketAddr,
    https: SocketAddr,
    trigger: Trigger,
}

impl World {
    async fn start() -> Self {
        let api = Arc::new(FakeApi { put: Mutex::default(), news: broadcast::Sender::new(64) });
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/24".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "192.168.1.1".parse().unwrap(),
        };
        let (table, trigger) = (Table::new(), Trigger::new());
        let network = Network::new(config, Arc::<Table>::clone(&table));
        let localhost = Ipv4Addr::LOCALHOST.into();
        let site = Site { node: "n1".into(), bind_address: localhost };
        let client = Client::new(Arc::<FakeApi>::clone(&api));
        let proxy = Proxy::new(client, table, Arc::clone(&network), &SystemClock, site).unwrap();
        let http = TcpListener::bind((localhost, 0)).await.unwrap();
        let https = TcpListener::bind((localhost, 0)).await.unwrap();
        let (at_http, at_https) = (http.local_addr().unwrap(), https.local_addr().unwrap());
        proxy.run(Listeners { http: Some(http), https: Some(https) }, &trigger.drain());
        Self { api, network, http: at_http, https: at_https, trigger }
    }

    fn put(&self, plural: &'static str, object: Value) {
        self.api.put.lock().unwrap().entry(plural).or_default().push(object.clone());
        drop(self.api.news.send((plural, object)));
    }

    fn pod(&self) -> Arc<Namespace> {
        let identity = PodIdentity { namespace: "default".into(), name: "p".into(), uid: "u".into() };
        self.network.namespace(identity, Egress::Denied).unwrap()
    }

    /// A Service `web` with one pod, which answers every connection with its address and what it was sent.
    fn put_echo(&self, node_port: u16, protocol: &str) -> Arc<Namespace> {
        let pod = self.pod();
        let port = json!({"name": "p", "port": 80, "protocol": protocol, "nodePort": node_port});
        self.put("services", json!({
            "metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.0.1", "ports": [port]},
        }));
        self.put(
            "endpointslices",
            json!({
                "metadata": {"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"name": "p", "port": 8080, "protocol": protocol}],
                "endpoints": [{"addresses": [pod.address().to_string()], "conditions": {"ready": true}}],
            }),
        );
        pod
    }

    /// One exchange over TLS: the certificate presented, and whether the name was trusted.
    async fn certificate(&self, trusted: &str, name: &str) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(self.https).await.unwrap();
        connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await.is_ok()
    }
}

async fn free_port(protocol: &str) -> u16 {
    if protocol == "TCP" {
        return TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    }
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Asks until the answer is as expected: what was put is seen a moment later.
async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asked = tokio::time::timeout(Duration::from_secs(20), async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(asked.await.is_ok(), "never: {what}");
}

async fn exchange(at: SocketAddr, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn a_tcp_node_port_opens_with_its_service_and_passes_half_close() {
    let world = World::start().await;
    let node_port = free_port("TCP").await;
    let pod = world.put_echo(node_port, "TCP");
    let mut listener = pod.listen(([0, 0, 0, 0], 8080).into()).unwrap();
    world.trigger.drain().spawn(async move {
        while let Some(mut stream) = listener.accept().await {
            let mut question = String::new();
            drop(stream.read_to_string(&mut question).await);
            drop(stream.write_all(format!("re: {question}").as_bytes()).await);
        }
    });
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, node_port));
    eventually("an answer", || async { exchange(at, "hi").await.as_deref() == Some("re: hi") }).await;
    world.put_echo(0, "TCP");
    eventually("closed", || async { TcpStream::connect(at).await.is_err() }).await;
    assert!(world.trigger.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_udp_node_port_keeps_a_session_for_each_client() {
    let world = World::start().await;
    let node_port = free_port("UDP").await;
    let pod = world.put_echo(node_port, "UDP");
    let mut socket = pod.bind_udp(([0, 0, 0, 0], 8080).into()).unwrap();
    world.trigger.drain().spawn(async move {
        loop {
            std::future::poll_fn(|context| socket.poll_receivable(context)).await;
            while let Some(datagram) = socket.try_receive() {
                drop(socket.send_to([b"re: ", &*datagram.payload].concat().into(), datagram.from));
            }
        }
    });
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = ("127.0.0.1", node_port);
    eventually("an answer", || async {
        drop(client.send_to(b"hi", to).await);
        let mut answer = [0; 9];
        let received = tokio::time::timeout(Duration::from_millis(20), client.recv_from(&mut answer)).await;
        matches!(received, Ok(Ok((6, _)))) && answer.starts_with(b"re: hi")
    })
    .await;
}

#[tokio::test]
async fn https_presents_certificates_as_secrets_change() {
    let world = World::start().await;
    let issue = || {
        let names = ["web.example".to_owned()];
        wherry_pki::self_signed("test", &names, wherry_base::Clock::now(&SystemClock)).unwrap()
    };
    let put = |issued: &wherry_pki::Issued| {
        world.put(
            "secrets",
            json!({"metadata": {"namespace": "default", "name": "tls"}, "type": "kubernetes.io/tls", "data": {
                "tls.crt": k8s_openapi::ByteString(issued.certificate.clone().into_bytes()),
                "tls.key": k8s_openapi::ByteString(issued.key.clone().into_bytes()),
            }}),
        );
    };
    world.put(
        "ingresses",
        json!({
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"ingressClassName": "wherry", "tls": [{"hosts": ["web.example"], "secretName": "tls"}]},
        }),
    );
    let (first, second) = (issue(), issue());
    assert!(!world.certificate(&first.certificate, "web.example").await);
    put(&first);
    eventually("the first certificate", || world.certificate(&first.certificate, "web.example")).await;
    put(&second);
    eventually("the second certificate", || world.certificate(&second.certificate, "web.example")).await;
    assert!(!world.certificate(&first.certificate, "web.example").await);
}

/// Whatever comes until the connection ends, which may be abrupt.
async fn ask_raw(at: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    drop(stream.write_all(text.as_bytes()).await);
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while let Ok(length @ 1..) = stream.read(&mut part).await {
        answer.extend_from_slice(&part[..length]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn bad_requests_are_answered_and_closed() {
    let world = World::start().await;
    let check = async |request: &str, expected: &str| {
        let answer = ask_raw(world.http, request).await;
        assert!(answer.starts_with(expected), "{request:.40}: {answer}");
    };
    check("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "HTTP/1.1 404").await;
    check("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 404").await;
    check("CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\nconnection: close\r\n\r\n", "HTTP/1.1 405").await;
    check("nonsense\r\n\r\n", "HTTP/1.1 400").await;
    check(&format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(100_000)), "HTTP/1.1 431").await;
}
