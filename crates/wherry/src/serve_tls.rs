//! The image registry over mutual TLS, and who may do what there. Administrators write, nodes read, masters fetch from each other; on a port of its own, who
//! has no certificate of the cluster gets no further than the handshake, and whose certificate is revoked not much further. It
//! is served on the API's port as well.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use wherry_api::well_known::{ADMINISTRATORS, MASTERS, NODES};
use wherry_apiserver::{Identity, Registry};
use wherry_base::{Accepted, Acceptor, Drain};
use wherry_pki::Holder;

const HANDSHAKE_MOST: Duration = Duration::from_secs(10);
const HEAD_MOST: Duration = Duration::from_secs(10);
/// How many connections are served at once.
const CONNECTIONS_MAX: usize = 1024;
/// The distribution specification's answer to who may not.
const DENIED: &str =
    r#"{"errors":[{"code":"DENIED","message":"nodes read images, and members of system:masters write them"}]}"#;

const REVOKED: &str = r#"{"errors":[{"code":"UNAUTHORIZED","message":"the certificate is revoked"}]}"#;

/// Who is on the other end of a connection, by the certificate that TLS has verified.
struct Caller {
    identity: Identity,
    serial: String,
}

/// What all connections need.
#[derive(Clone)]
struct Served {
    router: Router,
    /// Knows what is revoked.
    api: Registry,
}

/// Serves `router` until the drain.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    api: Registry,
    drain: Drain,
) {
    let (tls, served) = (TlsAcceptor::from(tls), Served { router, api });
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, place, .. }) = acceptor.next().await {
        let (tls, served) = (tls.clone(), served.clone());
        drain.spawn(async move {
            connection(stream, tls, served).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, served: Served) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MOST, tls.accept(stream)).await else { return };
    let Some(caller) = caller(&stream).map(Arc::new) else { return };
    let service = service_fn(move |request| answer(Arc::clone(&caller), served.clone(), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MOST);
    builder.http2().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn answer(caller: Arc<Caller>, served: Served, request: http::Request<Incoming>) -> Result<Response, Infallible> {
    if served.api.is_revoked(&caller.identity.user, &caller.serial) {
        return Ok(refusal(StatusCode::UNAUTHORIZED, REVOKED));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(caller.identity.clone());
    served.router.oneshot(request).await
}

fn caller(stream: &TlsStream<TcpStream>) -> Option<Caller> {
    let Holder { user, groups, serial } = Holder::of_peer(stream.get_ref().1)?;
    Some(Caller { identity: Identity { user, groups }, serial })
}

/// The same router for those who may: whoever serves it puts the client's [`Identity`] into the request's extensions.
pub fn for_those_who_may(router: Router) -> Router {
    router.layer(from_fn(guard))
}

async fn guard(request: Request, next: Next) -> Response {
    let identity = request.extensions().get::<Identity>();
    let (method, path) = (request.method(), request.uri().path());
    if identity.is_some_and(|identity| may(&identity.groups, method, path)) {
        return next.run(request).await;
    }
    refusal(StatusCode::FORBIDDEN, DENIED)
}

fn refusal(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn may(groups: &[String], method: &Method, path: &str) -> bool {
    let is_in = |group: &str| groups.iter().any(|own| own == group);
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_among_masters = path.starts_with(wherry_registry::OF_MASTERS);
    is_in(ADMINISTRATORS) || (is_in(NODES) && is_read) || (is_in(MASTERS) && is_among_masters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_read_and_administrators_write() {
        let (images, of_masters) = ("/v2/a/blobs/x", "/v2/_local/blobs/x");
        for (group, method, path, expected) in [
            (MASTERS, Method::GET, of_masters, true),
            (MASTERS, Method::POST, of_masters, true),
            (MASTERS, Method::PUT, images, false),
            (NODES, Method::POST, of_masters, false),
            (ADMINISTRATORS, Method::GET, images, true),
            (ADMINISTRATORS, Method::PUT, images, true),
            (ADMINISTRATORS, Method::DELETE, images, true),
            (NODES, Method::GET, images, true),
            (NODES, Method::HEAD, images, true),
            (NODES, Method::POST, images, false),
            (NODES, Method::PUT, images, false),
            (NODES, Method::DELETE, images, false),
            ("others", Method::GET, images, false),
        ] {
            assert_eq!(may(&[group.to_owned()], &method, path), expected, "{group} {method} {path}");
        }
    }
}
