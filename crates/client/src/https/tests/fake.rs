//! A server of a cluster that does as it is told: a real TLS listener on a free port, whose answers are a few words.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::Response;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use wherry_base::{Drain, SystemClock, Trigger};
use wherry_pki::{Authority, LiveCertificate, Subject, Validity};

use crate::https::Https;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers with its name.
    Well,
    /// Answers nothing until its mood changes, as a process that is stopped.
    Hung,
    /// Answers that it cannot serve.
    Unable,
    /// The same, and that one may try again.
    UnableInvites,
    /// Takes a request and drops the answer.
    Breaks,
}

/// One server, and what it was asked.
pub(super) struct Fake {
    pub(super) url: String,
    mood: watch::Sender<Mood>,
    asked: Arc<Mutex<Vec<String>>>,
    tasks: Trigger,
}

/// Servers of one cluster.
pub(super) struct Cluster {
    pub(super) servers: Vec<Fake>,
    tls: rustls::ClientConfig,
}

#[derive(Clone)]
struct Handler {
    name: String,
    mood: watch::Receiver<Mood>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

impl Cluster {
    /// Servers that are called `0`, `1` and so on; the certificate of all is for the address, and the name `one`.
    pub(super) async fn of(servers: usize) -> Self {
        let _installed_by_another_test = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let now = SystemClock::shared().now();
        let authority = Authority::generate("test", now).unwrap();
        let names = ["127.0.0.1".to_owned(), "one".to_owned()];
        let validity = Validity::of(now, Duration::from_hours(1));
        let issue = |names| {
            LiveCertificate::of(&authority.issue(&Subject { user: "u", group: None, names }, validity).unwrap())
                .unwrap()
        };
        let server_tls = wherry_pki::server_config(&issue(&names), &authority.certificate(), true).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_tls));
        let mut all = Vec::new();
        for name in 0..servers {
            all.push(Fake::start(name.to_string(), acceptor.clone()).await);
        }
        let tls = wherry_pki::client_config(&issue(&[]), &authority.certificate()).unwrap();
        Self { servers: all, tls }
    }

    /// A client of all of them, which begins with the first.
    pub(super) fn client(&self) -> Https {
        self.client_of(&self.servers.iter().map(|server| server.url.as_str()).collect::<Vec<_>>())
    }

    /// A client of the first, which is expected to be the one of that name.
    pub(super) fn named(&self, name: &str) -> Https {
        Https::named(name, &self.servers[0].url, self.tls.clone(), None).unwrap()
    }

    pub(super) fn client_of(&self, urls: &[&str]) -> Https {
        Https::with_tls(urls, self.tls.clone()).unwrap()
    }
}

impl Fake {
    async fn start(name: String, tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (mood, asked, tasks) = (watch::Sender::new(Mood::Well), Arc::default(), Trigger::new());
        let handler = Handler { name, mood: mood.subscribe(), asked: Arc::clone(&asked) };
        tasks.drain().spawn(accept(listener, tls, handler, tasks.drain()));
        Self { url, mood, asked, tasks }
    }

    pub(super) fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// What it was asked since the last time, but whether it lives.
    pub(super) fn asked(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.asked.lock().unwrap());
        all.into_iter().filter(|asked| asked != "GET /readyz/etcd").collect()
    }

    /// Closes its connections and its port.
    pub(super) async fn die(self) {
        assert!(self.tasks.stop(Duration::from_secs(60)).await);
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, handler: Handler, drain: Drain) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, handler) = (tls.clone(), handler.clone());
        drain.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| handler.clone().answer(request));
            let server = auto::Builder::new(TokioExecutor::new());
            let _broken = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Handler {
    async fn answer(mut self, request: http::Request<hyper::body::Incoming>) -> Result<Response<Body>, &'static str> {
        let asked = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
        self.asked.lock().unwrap().push(asked.clone());
        let mood = *self.mood.wait_for(|mood| *mood != Mood::Hung).await.map_err(|_| "gone")?;
        match mood {
            Mood::Well if asked.contains("watch=true") => {
                let event = format!(
                    r#"{{"type":"ADDED","object":{{"metadata":{{"name":"{}","resourceVersion":"7"}}}}}}"#,
                    self.name
                );
                let event = stream::iter([Ok(Frame::data(Bytes::from(event + "\n")))]);
                Ok(Response::new(StreamBody::new(event.chain(stream::pending()).boxed())))
            }
            Mood::Well if asked.contains("/pods") => {
                Ok(whole(200, r#"{"metadata":{"resourceVersion":"5"},"items":[]}"#.into()))
            }
            Mood::Well | Mood::Hung => Ok(whole(200, self.name)),
            Mood::Unable => Ok(whole(503, "not now".into())),
            Mood::UnableInvites => {
                let mut answer = whole(503, "not now".into());
                answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
                Ok(answer)
            }
            Mood::Breaks => Err("as told"),
        }
    }
}

fn whole(status: u16, body: String) -> Response<Body> {
    let frame = stream::iter([Ok(Frame::data(Bytes::from(body)))]).boxed();
    Response::builder().status(status).body(StreamBody::new(frame)).unwrap()
}
