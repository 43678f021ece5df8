//! The kubelet's HTTPS endpoints: logs, pods, usage, health, and connections to containers. A client certificate of the API
//! server or an administrator is required, one that the cluster has not revoked; the connection ends once it has, whatever is
//! spoken over it by then. Connections that other nodes make to this port, unless for HTTP/1.1, are handed to [`OtherNodes`] as
//! they are.

mod logs;
mod stats;
mod streams;

use std::convert::Infallible;
use std::pin::Pin;
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
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use wherry_api::Revocations;
use wherry_api::well_known::{ADMINISTRATORS, NODE_USER, NODES};
use wherry_base::{Accepted, Acceptor, Drain};
use wherry_client::revoked;
use wherry_pki::Holder;

use crate::agent::AgentHandle;

/// How many connections there may be at once, those of other nodes included.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take over its TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take over the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// What other nodes do not speak among themselves.
const HTTP_1: &[u8] = b"http/1.1";
/// Names under which API servers call.
const API_SERVERS: [&str; 3] = ["kube-apiserver-kubelet-client", "system:apiserver", "kube-apiserver"];

/// What resolves when a connection is to end.
pub type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the connections of other nodes.
pub trait OtherNodes: Send + Sync + 'static {
    /// Takes a connection of the node of that name, which its certificate has proved, until that is revoked; `place` is held as
    /// long as the connection is there.
    fn take(&self, node: String, connection: TlsStream<TcpStream>, place: OwnedSemaphorePermit, until: Until);
}

/// Whose a connection is, as TLS has verified, and what says that it is to end.
#[derive(Clone)]
struct Peer {
    holder: Holder,
    revocations: watch::Receiver<Revocations>,
}

/// Who calls.
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
    revocations: watch::Receiver<Revocations>,
    drain: Drain,
) {
    let tls = TlsAcceptor::from(tls);
    let router = router(agent);
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, place, .. }) = acceptor.next().await {
        let (tls, router, nodes, revocations) = (tls.clone(), router.clone(), Arc::clone(&nodes), revocations.clone());
        drain.spawn(async move {
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await else { return };
            let holder = Holder::of_peer(stream.get_ref().1).unwrap_or_default();
            let peer = Peer { holder, revocations };
            if peer.is_revoked() {
                return tracing::debug!(peer.holder.user, "a certificate that is revoked was presented");
            }
            match peer.caller() {
                Caller::Node(name) if stream.get_ref().1.alpn_protocol().is_some_and(|name| name != HTTP_1) => {
                    nodes.take(name, stream, place, Box::pin(peer.revoked()));
                }
                _ => {
                    tokio::select! {
                        biased;
                        () = peer.clone().revoked() => {}
                        () = connection(stream, peer, router) => {}
                    }
                    drop(place);
                }
            }
        });
    }
}

async fn connection(stream: TlsStream<TcpStream>, peer: Peer, router: Router) {
    let is_welcome = peer.caller() == Caller::Master;
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        request.extensions_mut().insert(peer.clone());
        async move {
            if !is_welcome {
                let text = "Forbidden: a client certificate of the API server or of group system:masters is needed\n";
                return Ok::<_, Infallible>((axum::http::StatusCode::FORBIDDEN, text).into_response());
            }
            router.oneshot(request.map(axum::body::Body::new)).await
        }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the kubelet ended badly");
    }
}

impl Peer {
    fn is_revoked(&self) -> bool {
        self.revocations.borrow().cover(&self.holder.user, &self.holder.serial)
    }

    /// Resolves once the certificate is revoked.
    async fn revoked(self) {
        revoked(self.revocations, &self.holder.user, &self.holder.serial).await;
    }

    fn caller(&self) -> Caller {
        let Holder { user, groups, .. } = &self.holder;
        let is_in = |group: &str| groups.iter().any(|own| own == group);
        match user.strip_prefix(NODE_USER) {
            _ if is_in(ADMINISTRATORS) || API_SERVERS.contains(&user.as_str()) => Caller::Master,
            Some(node) if is_in(NODES) => Caller::Node(node.to_owned()),
            _ => Caller::Stranger,
        }
    }
}

/// The endpoints, without TLS.
pub(crate) fn router(agent: AgentHandle) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::logs))
        .fallback(async |request: Request| {
            let text = format!("404: no {} here\n", request.uri().path());
            (axum::http::StatusCode::NOT_FOUND, text)
        })
        .with_state(agent.clone())
        .merge(stats::router(agent.clone()))
        .merge(streams::router(agent))
}

async fn pods(State(agent): State<AgentHandle>) -> Response {
    let objects: Vec<Bytes> = agent.context.all().iter().map(|worker| worker.object()).collect();
    let mut body = br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#.to_vec();
    body.extend_from_slice(&objects.join(&b","[..]));
    body.extend_from_slice(b"]}");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
