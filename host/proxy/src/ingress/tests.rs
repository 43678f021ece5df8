use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wherry_api::ObjectKey;
use wherry_base::{Drain, SystemClock, Trigger};
use wherry_client::Projection;
use wherry_vnet::{
    Body, BoxError, Egress, HttpHandler, Namespace, Network, NetworkConfig, PodIdentity, Unanswered, full_body,
};

use super::certificates::Certificates;
use super::compile;
use super::facts::{ClassFacts, IngressFacts, TlsSecret};
use super::forward::Forwarder;
use super::headers::Client;
use super::serve::serve_connection;
use crate::table::tests::{ready, slice, table, update, web};
use crate::table::{ServiceFacts, SliceFacts, Table};

/// A table, a network and an ingress with one rule: `web.example` to Service `web`, whose endpoints are given.
struct World {
    table: Arc<Table>,
    network: Arc<Network>,
    forwarder: Arc<Forwarder>,
    trigger: Trigger,
}

const WEB: &str = r#"{"rules": [{"host": "web.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
    "backend": {"service": {"name": "web", "port": {"name": "http"}}}}]}}]}"#;

fn ingress(name: &str, created: &str, spec: Value) -> (ObjectKey, IngressFacts) {
    let object =
        json!({"metadata": {"namespace": "default", "name": name, "creationTimestamp": created}, "spec": spec});
    (ObjectKey::new("default", name), IngressFacts::project(serde_json::from_value(object).unwrap()))
}

fn web_ingress() -> (ObjectKey, IngressFacts) {
    ingress("web", "2026-01-01T00:00:00Z", serde_json::from_str(WEB).unwrap())
}

fn endpoints(addresses: &[SocketAddr]) -> (&'static str, ServiceFacts, Vec<SliceFacts>) {
    let one = |at: &SocketAddr| slice("web", at.port(), &[(&at.ip().to_string(), ready())]);
    ("web", web(), addresses.iter().map(one).collect())
}

impl World {
    fn new() -> Self {
        let table = table(&[]);
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/24".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "192.168.1.1".parse().unwrap(),
        };
        let network = Network::new(config, Arc::<Table>::clone(&table));
        let trigger = Trigger::new();
        let forwarder = Forwarder::new(Arc::clone(&table), Arc::clone(&network), trigger.drain());
        forwarder.store(compile::matcher(&[web_ingress()]));
        Self { table, network, forwarder, trigger }
    }

    fn pod(&self) -> Arc<Namespace> {
        let identity = PodIdentity { namespace: "default".into(), name: "p".into(), uid: "u".into() };
        self.network.namespace(identity, Egress::Denied).unwrap()
    }

    fn serve_from(&self, addresses: &[SocketAddr]) {
        update(&self.table, &[endpoints(addresses)]);
    }

    /// A client's connection to the ingress.
    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let client = Client::new("192.0.2.7:4000".parse().unwrap(), 8080, false);
        let (forwarder, drain) = (Arc::clone(&self.forwarder), self.trigger.drain());
        self.trigger.drain().spawn_graceful(async move { serve_connection(theirs, client, forwarder, &drain).await });
        ours
    }

    async fn client(&self) -> http1::SendRequest<Full<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect())).await.unwrap();
        self.trigger.drain().spawn(async move { drop(connection.await) });
        sender
    }

    async fn get(&self, host: &str, path: &str) -> (StatusCode, String) {
        let mut client = self.client().await;
        let request = Request::builder().uri(path).header("host", host).body(Full::default()).unwrap();
        read(client.send_request(request).await.unwrap()).await
    }
}

async fn read(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Says who it is, what was asked, and echoes the body.
struct Echo(&'static str);

#[async_trait]
impl HttpHandler for Echo {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        let (head, body) = request.into_parts();
        let header = |name| head.headers.get(name).map_or("", |value| value.to_str().unwrap_or(""));
        let who = format!("{} {} {} {} ", self.0, head.method, head.uri, header("x-forwarded-for"));
        let body = body.collect().await?.to_bytes();
        if body == "trap" {
            return Err("trapped".into());
        }
        Ok(Response::new(full_body([who.into_bytes(), body.to_vec()].concat())))
    }
}

async fn answer(handler: Arc<dyn HttpHandler>, request: Request<Incoming>) -> std::io::Result<Response<Body>> {
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    handler.handle(request).await.map_err(|unanswered| std::io::Error::other(unanswered.to_string()))
}

/// Serves HTTP/1.1 by `handler` on a listener of the pod, as the runtime of a container does.
fn serve_on(pod: &Arc<Namespace>, port: u16, handler: Arc<dyn HttpHandler>, drain: &Drain) -> SocketAddr {
    let mut listener = pod.listen(([0, 0, 0, 0], port).into()).unwrap();
    let (connections, drain) = (drain.clone(), drain.clone());
    drain.spawn(async move {
        while let Some(stream) = listener.accept().await {
            let handler = Arc::clone(&handler);
            connections.spawn(async move {
                let service = hyper::service::service_fn(move |request| answer(Arc::clone(&handler), request));
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(TokioIo::new(stream), service).with_upgrades().await);
            });
        }
    });
    SocketAddr::new(pod.address(), port)
}

#[tokio::test]
async fn failures_say_what_and_where() {
    let world = World::new();
    let check = async |host: &str, status: u16, text: &str| {
        let (found, body) = world.get(host, "/").await;
        assert_eq!(found.as_u16(), status, "{body}");
        assert!(body.contains(text), "{body}");
    };
    check("other.example", 404, "no ingress rule").await;
    check("web.example", 503, "default/web does not exist").await;
    world.serve_from(&[]);
    check("web.example", 503, "default/web has no ready endpoint").await;
    let pod = world.pod();
    world.serve_from(&[SocketAddr::new(pod.address(), 80)]);
    check("web.example", 502, "no endpoint of service default/web took the connection").await;
    let _listener = pod.listen_http(80, Arc::new(Echo("a"))).unwrap();
    let mut client = world.client().await;
    let request = Request::builder().uri("/").header("host", "web.example").body("trap".into()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 502);
}

#[tokio::test]
async fn handlers_are_called_in_turn_without_a_connection() {
    let world = World::new();
    let (a, b) = (world.pod(), world.pod());
    let _a = a.listen_http(80, Arc::new(Echo("a"))).unwrap();
    let _b = b.listen_http(80, Arc::new(Echo("b"))).unwrap();
    world.serve_from(&[SocketAddr::new(a.address(), 80), SocketAddr::new(b.address(), 80)]);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(world.get("web.example:8080", "/p?q=1").await.1);
    }
    let (a, b) = ("a GET /p?q=1 192.0.2.7 ", "b GET /p?q=1 192.0.2.7 ");
    assert_eq!(answers, [a, b, a, b]);
}

#[tokio::test]
async fn connections_are_kept_and_an_endpoint_that_is_gone_is_passed_over() {
    let world = World::new();
    let (pod, gone) = (world.pod(), world.pod());
    let at = serve_on(&pod, 8080, Arc::new(Echo("conn")), &world.trigger.drain());
    world.serve_from(&[at, SocketAddr::new(gone.address(), 8080)]);
    let mut client = world.client().await;
    for round in 0..20 {
        let body = format!("{round}");
        let request = Request::post("/x").header("host", "web.example").body(Full::from(body.clone())).unwrap();
        let (status, text) = read(client.send_request(request).await.unwrap()).await;
        assert_eq!((status.as_u16(), text), (200, format!("conn POST /x 192.0.2.7 {body}")));
    }
}

/// Counts its requests, and ends the connection instead of answering.
struct Fragile(AtomicUsize);

#[async_trait]
impl HttpHandler for Fragile {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        self.0.fetch_add(1, Ordering::SeqCst);
        if request.uri() == "/trap" { Err("trapped".into()) } else { Ok(Response::new(full_body(""))) }
    }
}

#[tokio::test]
async fn an_endpoint_that_ends_instead_of_answering_is_asked_twice_at_most() {
    let (world, fragile) = (World::new(), Arc::new(Fragile(AtomicUsize::new(0))));
    let pod = world.pod();
    world.serve_from(&[serve_on(&pod, 8080, Arc::<Fragile>::clone(&fragile) as _, &world.trigger.drain())]);
    let (status, _) = world.get("web.example", "/trap").await;
    assert!(status == 502 && fragile.0.swap(0, Ordering::SeqCst) == 2, "{status}, over two connections of their own");
    futures::future::join_all((0..4).map(|_| world.get("web.example", "/"))).await;
    let (status, text) = world.get("web.example", "/trap").await;
    assert!(status == 502 && text.contains("default/web ended before it answered"), "{status} {text}");
    assert_eq!(fragile.0.load(Ordering::SeqCst), 4 + 2, "over a connection that was kept, and over one of its own");
}

/// Gives requests back: as never seen, or as broken off.
struct GivesBack(AtomicUsize);

#[async_trait]
impl HttpHandler for GivesBack {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let is_unseen = request.uri() == "/unseen";
        let request = Box::new(request);
        Err(if is_unseen { Unanswered::Unseen(request) } else { Unanswered::Broken("gone".into(), Some(request)) })
    }
}

#[tokio::test]
async fn what_a_handler_gives_back_goes_elsewhere_where_that_does_no_harm() {
    let check = async |method: &str, path: &str, body: &'static str, expected: &str| {
        let (world, first) = (World::new(), Arc::new(GivesBack(AtomicUsize::new(0))));
        let (a, b) = (world.pod(), world.pod());
        let _a = a.listen_http(80, Arc::<GivesBack>::clone(&first) as _).unwrap();
        let _b = b.listen_http(80, Arc::new(Echo("b"))).unwrap();
        world.serve_from(&[SocketAddr::new(a.address(), 80), SocketAddr::new(b.address(), 80)]);
        let request = Request::builder().method(method).uri(path).header("host", "web.example").body(body.into());
        let (status, text) = read(world.client().await.send_request(request.unwrap()).await.unwrap()).await;
        assert_eq!(first.0.load(Ordering::SeqCst), 1);
        assert!(format!("{} {text}", status.as_u16()).starts_with(expected), "{status} {text}");
    };
    check("GET", "/unseen", "", "200 b GET /unseen").await;
    check("POST", "/unseen", "ahoy", "200 b POST /unseen 192.0.2.7 ahoy").await;
    check("GET", "/broken", "", "200 b GET /broken").await;
    check("POST", "/broken", "", "502").await;
    check("GET", "/broken", "ahoy", "502").await;
}

#[tokio::test]
async fn http2_comes_in_over_the_same_port() {
    let world = World::new();
    let pod = world.pod();
    let _listener = pod.listen_http(80, Arc::new(Echo("h2"))).unwrap();
    world.serve_from(&[SocketAddr::new(pod.address(), 80)]);
    let io = TokioIo::new(world.connect());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    world.trigger.drain().spawn(async move { drop(connection.await) });
    let body = Full::<Bytes>::from("hi");
    let request = Request::post("http://web.example/up").version(Version::HTTP_2).body(body).unwrap();
    let (status, text) = read(sender.send_request(request).await.unwrap()).await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "h2 POST /up 192.0.2.7 hi"));
}

/// Switches to a protocol that echoes in capitals.
struct Shout(Drain);

#[async_trait]
impl HttpHandler for Shout {
    async fn handle(&self, mut request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        let switched = hyper::upgrade::on(&mut request);
        self.0.spawn(async move {
            let mut io = TokioIo::new(switched.await.unwrap());
            let mut word = [0; 5];
            io.read_exact(&mut word).await.unwrap();
            io.write_all(&word.to_ascii_uppercase()).await.unwrap();
        });
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "shout");
        Ok(response.body(full_body(""))?)
    }
}

#[tokio::test]
async fn upgrades_pass_through() {
    let world = World::new();
    let pod = world.pod();
    let at = serve_on(&pod, 8080, Arc::new(Shout(world.trigger.drain())), &world.trigger.drain());
    world.serve_from(&[at]);
    let mut raw = world.connect();
    raw.write_all(b"GET / HTTP/1.1\r\nhost: web.example\r\nconnection: Upgrade\r\nupgrade: shout\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(raw.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("upgrade: shout"), "{head}");
    raw.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "HELLO");
}

/// Answers when told to.
struct Slow {
    gate: tokio::sync::Semaphore,
    begun: AtomicUsize,
}

#[async_trait]
impl HttpHandler for Slow {
    async fn handle(&self, _: Request<Body>) -> Result<Response<Body>, Unanswered> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _permit = self.gate.acquire().await?;
        Ok(Response::new(full_body("slow")))
    }
}

#[tokio::test]
async fn what_is_in_flight_finishes_when_a_pod_or_the_process_ends() {
    let world = World::new();
    let (old, new) = (world.pod(), world.pod());
    let slow = Arc::new(Slow { gate: tokio::sync::Semaphore::new(0), begun: AtomicUsize::new(0) });
    let handler: Arc<dyn HttpHandler> = Arc::<Slow>::clone(&slow);
    let _old = old.listen_http(80, handler).unwrap();
    let _new = new.listen_http(80, Arc::new(Echo("new"))).unwrap();
    world.serve_from(&[SocketAddr::new(old.address(), 80)]);
    let in_flight = world.get("web.example", "/");
    let elsewhere = async {
        while slow.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // The listeners close before the table knows: the request finds the endpoint that is left.
        world.serve_from(&[SocketAddr::new(old.address(), 80), SocketAddr::new(new.address(), 80)]);
        old.close_listeners();
        for _ in 0..4 {
            assert_eq!(world.get("web.example", "/").await, (StatusCode::OK, "new GET / 192.0.2.7 ".into()));
        }
        world.serve_from(&[SocketAddr::new(new.address(), 80)]);
        slow.gate.add_permits(1);
    };
    let ((status, text), ()) = tokio::join!(in_flight, elsewhere);
    assert_eq!((status.as_u16(), text.as_str()), (200, "slow"));
    assert!(world.trigger.stop(Duration::from_secs(5)).await, "connections without requests end at once");
}

/// Pods are replaced again and again, some by handler and some by connection, some gone before the table knows.
#[tokio::test]
async fn no_request_fails_while_pods_are_replaced() {
    const ROLLS: usize = 60;
    let world = World::new();
    let done = AtomicUsize::new(0);
    let roll = async {
        let mut old: Option<(Arc<Namespace>, SocketAddr)> = None;
        // Their requests in flight end, as in a pod's grace period.
        let mut retired = Vec::new();
        for round in 0..ROLLS {
            let pod = world.pod();
            let at = SocketAddr::new(pod.address(), 8080);
            if round % 2 == 0 {
                let listener = pod.listen_http(8080, Arc::new(Echo("handler"))).unwrap();
                world.trigger.drain().spawn(async move { drop((listener, std::future::pending::<()>().await)) });
            } else {
                serve_on(&pod, 8080, Arc::new(Echo("connection")), &world.trigger.drain());
            }
            world.serve_from(&old.iter().map(|(_, at)| *at).chain([at]).collect::<Vec<_>>());
            tokio::task::yield_now().await;
            if let Some((old, _)) = old.replace((pod, at)) {
                old.close_listeners();
                tokio::time::sleep(Duration::from_millis(2)).await;
                world.serve_from(&[at]);
                retired.push(old);
            }
        }
        done.store(1, Ordering::SeqCst);
        // The last ones serve until the last client is done.
        (old, retired)
    };
    let ask = async {
        let mut client = world.client().await;
        let mut asked = 0;
        while done.load(Ordering::SeqCst) == 0 || asked == 0 {
            let request = Request::post("/").header("host", "web.example").body(Full::from("body")).unwrap();
            let (status, text) = read(client.send_request(request).await.unwrap()).await;
            assert!(status.is_success() || text.contains("does not exist"), "{status} {text}");
            asked += 1;
        }
    };
    let _pods =
        tokio::join!(roll, futures::future::join_all((0..7).map(|_| async { ask_until(&world, &done).await })), ask);
}

async fn ask_until(world: &World, done: &AtomicUsize) {
    while done.load(Ordering::SeqCst) == 0 {
        let (status, text) = world.get("web.example", "/").await;
        assert!(status.is_success() || text.contains("does not exist"), "{status} {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_answer_is_a_504() {
    let world = World::new();
    let slow = || Arc::new(Slow { gate: tokio::sync::Semaphore::new(0), begun: AtomicUsize::new(0) });
    let (over_a_connection, by_handler) = (world.pod(), world.pod());
    let at = serve_on(&over_a_connection, 8080, slow(), &world.trigger.drain());
    let _listener = by_handler.listen_http(8080, slow()).unwrap();
    for at in [at, SocketAddr::new(by_handler.address(), 8080)] {
        world.serve_from(&[at]);
        let (status, text) = world.get("web.example", "/").await;
        assert_eq!(status.as_u16(), 504, "{text}");
        assert_eq!(text, "504 Gateway Timeout: service default/web did not answer in time\n");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_turned_out_and_busy_ones_stay() {
    let world = World::new();
    let pod = world.pod();
    let _listener = pod.listen_http(80, Arc::new(Echo("a"))).unwrap();
    world.serve_from(&[SocketAddr::new(pod.address(), 80)]);
    let check = async |sent: &str, least: u64, most: u64| {
        let mut raw = world.connect();
        let start = tokio::time::Instant::now();
        raw.write_all(sent.as_bytes()).await.unwrap();
        drop(raw.read_to_end(&mut Vec::new()).await);
        let seconds = start.elapsed().as_secs();
        assert!((least..=most).contains(&seconds), "{sent:?}: {seconds} s");
    };
    check("", 10, 20).await;
    check("GET / HTTP/1.1\r\nhost: web.ex", 10, 20).await;
    check("GET / HTTP/1.1\r\nhost: web.example\r\n\r\n", 70, 90).await;
    check("GET / HTTP/1.1\r\nhost: web.example\r\n\r\nGET", 10, 90).await;
    check("POST / HTTP/1.1\r\nhost: web.example\r\ncontent-length: 5\r\n\r\nab", 60, 90).await;
}

#[tokio::test]
async fn a_drain_lets_the_request_in_flight_end() {
    let world = World::new();
    let pod = world.pod();
    let slow = Arc::new(Slow { gate: tokio::sync::Semaphore::new(0), begun: AtomicUsize::new(0) });
    let handler: Arc<dyn HttpHandler> = Arc::<Slow>::clone(&slow);
    let _listener = pod.listen_http(80, handler).unwrap();
    world.serve_from(&[SocketAddr::new(pod.address(), 80)]);
    let mut raw = world.connect();
    raw.write_all(b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n").await.unwrap();
    while slow.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let World { trigger, .. } = world;
    let stop = trigger.stop(Duration::from_secs(5));
    let answer = async {
        slow.gate.add_permits(1);
        let mut text = String::new();
        raw.read_to_string(&mut text).await.unwrap();
        text
    };
    let (stopped, answer) = tokio::join!(stop, answer);
    assert!(stopped);
    assert!(answer.ends_with("slow"), "{answer}");
}

#[test]
fn classes_and_age_decide_which_rules_count() {
    let spec = |class: Option<&str>, service: &str| {
        let mut spec: Value = serde_json::from_str(WEB).unwrap();
        spec["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = json!(service);
        spec["ingressClassName"] = json!(class);
        spec
    };
    let all = || {
        vec![
            ingress("a", "2026-01-03T00:00:00Z", spec(Some("wherry"), "younger")),
            ingress("b", "2026-01-02T00:00:00Z", spec(Some("mine"), "older")),
            ingress("c", "2026-01-01T00:00:00Z", spec(None, "classless")),
            ingress("d", "2025-01-01T00:00:00Z", spec(Some("nginx"), "foreign")),
        ]
    };
    let class = |ours, default| ClassFacts { ours, default };
    let check = |classes: &[(&str, ClassFacts)], expected: &str| {
        let classes = classes.iter().map(|(name, class)| ((*name).to_owned(), *class)).collect();
        let matcher = compile::matcher(&compile::ours(all().into_iter(), &classes));
        assert_eq!(&*matcher.find("web.example", "/x").unwrap().service.name, expected);
    };
    check(&[], "younger");
    check(&[("mine", class(true, false))], "older");
    check(&[("mine", class(true, true))], "classless");
    check(&[("nginx", class(false, true))], "younger");
}

#[test]
fn certificates_by_name_wildcard_and_default() {
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = wherry_pki::self_signed("test", &names, wherry_base::Clock::now(&SystemClock)).unwrap();
        let object = json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": {
            "tls.crt": k8s_openapi::ByteString(issued.certificate.into_bytes()),
            "tls.key": k8s_openapi::ByteString(issued.key.into_bytes()),
        }});
        TlsSecret::project(serde_json::from_value(object).unwrap())
    };
    let (named, by_san, broken) =
        (issue(&["ignored.example"]), issue(&["*.san.example", "b.example"]), TlsSecret(None));
    let tls = json!({"tls": [
        {"hosts": ["A.example"], "secretName": "named"}, {"secretName": "by-san"},
        {"hosts": ["c.example"], "secretName": "broken"}, {"hosts": ["d.example"], "secretName": "missing"},
    ]});
    let secret = |key: &ObjectKey| match &*key.name {
        "named" => Some(named.clone()),
        "by-san" => Some(by_san.clone()),
        "broken" => Some(broken.clone()),
        _ => None,
    };
    let certificates = Certificates::generate(&SystemClock).unwrap();
    certificates.store(compile::certificates(&[ingress("i", "2026-01-01T00:00:00Z", tls)], secret));
    let default = certificates.find(None);
    let check = |name: &str, expected: &TlsSecret| {
        let expected = expected.0.as_ref().unwrap_or(&default);
        assert_eq!(certificates.find(Some(name)).cert, expected.cert, "{name}");
    };
    check("a.example", &named);
    check("b.example", &by_san);
    check("x.san.example", &by_san);
    check("x.y.san.example", &broken);
    check("c.example", &broken);
    check("d.example", &broken);
    assert!(certificates.server_config().is_ok());
}
