//! The kubelet's HTTPS endpoints: logs, pods, usage, health. A client certificate of the API server or an administrator
//! is required; exec, attach and port-forward are not here. Connections that other nodes make to this port, over HTTP/2, are
//! handed to [`OtherNodes`] as they are.

mod logs;
mod stats;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use wherry_api::well_known::{ADMINISTRATORS, NODE_USER, NODES};
use wherry_base::{Accepted, Acceptor, Drain};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::agent::AgentHandle;

/// How many connections there may be at once, those of other nodes included.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take over its TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take over the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Names under which API servers call.
const API_SERVERS: [&str; 3] = ["kube-apiserver-kubelet-client", "system:apiserver", "kube-apiserver"];

/// Takes the connections of other nodes.
pub trait OtherNodes: Send + Sync + 'static {
    /// Takes an HTTP/2 connection of the node of that name, which its certificate has proved; `place` is held as long as
    /// the connection is there.
    fn take(&self, node: String, connection: TlsStream<TcpStream>, place: OwnedSemaphorePermit);
}

/// Who calls, by a certificate that the TLS layer has verified.
#[derive(Debug, PartialEq, Eq)]
enum Caller {
    /// An administrator or an API server.
    Master,
    Node(String),
    Stranger,
}

/// Serves the endpoints on `listener` until the drain. `tls` must demand client certificates.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    agent: AgentHandle,
    nodes: Arc<dyn OtherNodes>,
    drain: Drain,
) {
    let tls = TlsAcceptor::from(tls);
    let router = router(agent);
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, place, .. }) = acceptor.next().await {
        let (tls, router, nodes) = (tls.clone(), router.clone(), Arc::clone(&nodes));
        drain.spawn(async move {
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await else { return };
            match caller(&stream) {
                Caller::Node(name) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                    nodes.take(name, stream, place);
                }
                caller => {
                    connection(stream, caller == Caller::Master, router).await;
                    drop(place);
                }
            }
        });
    }
}

async fn connection(stream: TlsStream<TcpStream>, welcome: bool, router: Router) {
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            if !welcome {
                let text = "Forbidden: a client certificate of the API server or of group system:masters is needed\n";
                return Ok::<_, Infallible>((axum::http::StatusCode::FORBIDDEN, text).into_response());
            }
            router.oneshot(request.map(axum::body::Body::new)).await
        }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the kubelet ended badly");
    }
}

fn caller(stream: &TlsStream<TcpStream>) -> Caller {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let parsed = certificate.and_then(|certificate| X509Certificate::from_der(certificate).ok());
    let Some((_, certificate)) = parsed else { return Caller::Stranger };
    let subject = certificate.subject();
    let in_group = |group: &str| subject.iter_organization().any(|name| name.as_str() == Ok(group));
    let mut names = subject.iter_common_name().filter_map(|name| name.as_str().ok());
    let name = names.next().unwrap_or_default();
    match name.strip_prefix(NODE_USER) {
        _ if in_group(ADMINISTRATORS) || API_SERVERS.contains(&name) => Caller::Master,
        Some(node) if in_group(NODES) => Caller::Node(node.to_owned()),
        _ => Caller::Stranger,
    }
}

/// The endpoints, without TLS.
pub(crate) fn router(agent: AgentHandle) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/stats/summary", get(stats::summary))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::logs))
        .fallback(async |request: Request| {
            let text = format!("404: no {} here\n", request.uri().path());
            (axum::http::StatusCode::NOT_FOUND, text)
        })
        .with_state(agent)
}

async fn pods(State(agent): State<AgentHandle>) -> Response {
    let objects: Vec<Bytes> = agent.context.all().iter().map(|worker| worker.object()).collect();
    let mut body = br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#.to_vec();
    body.extend_from_slice(&objects.join(&b","[..]));
    body.extend_from_slice(b"]}");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
