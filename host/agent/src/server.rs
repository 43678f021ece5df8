//! The kubelet's HTTPS endpoints: logs, pods, usage, health. A client certificate of the API server or an administrator
//! is required; exec, attach and port-forward are not here.

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
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use wherry_base::{Accepted, Acceptor, Drain};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::agent::AgentHandle;

/// How many connections there may be at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take over its TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take over the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// The group of administrators.
const ADMINISTRATORS: &str = "system:masters";
/// Names under which API servers call.
const API_SERVERS: [&str; 3] = ["kube-apiserver-kubelet-client", "system:apiserver", "kube-apiserver"];

/// Serves the endpoints on `listener` until the drain. `tls` must demand client certificates.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, agent: AgentHandle, drain: Drain) {
    let tls = TlsAcceptor::from(tls);
    let router = router(agent);
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, place, .. }) = acceptor.next().await {
        let (tls, router) = (tls.clone(), router.clone());
        drain.spawn(async move {
            connection(stream, tls, router).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, router: Router) {
    let accepted = tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await;
    let Ok(Ok(stream)) = accepted else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let welcome = certificate.is_some_and(|certificate| is_welcome(certificate));
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

/// Whether a certificate (which the TLS layer has verified) names an administrator or an API server.
fn is_welcome(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let subject = certificate.subject();
    let organization = subject.iter_organization().any(|name| name.as_str() == Ok(ADMINISTRATORS));
    let server = subject.iter_common_name().any(|name| name.as_str().is_ok_and(|name| API_SERVERS.contains(&name)));
    organization || server
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
