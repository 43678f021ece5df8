//! A router over mutual TLS: what the image registry needs. Who has no certificate of the cluster gets no further.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use wherry_base::{Accepted, Acceptor, Drain};

const HANDSHAKE_MOST: Duration = Duration::from_secs(10);
const HEAD_MOST: Duration = Duration::from_secs(10);
/// How many connections are served at once.
const CONNECTIONS_MAX: usize = 1024;

/// Serves until the drain.
pub async fn serve_tls(listener: TcpListener, tls: Arc<rustls::ServerConfig>, router: Router, drain: Drain) {
    let tls = TlsAcceptor::from(tls);
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
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MOST, tls.accept(stream)).await else { return };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MOST);
    builder.http2().timer(TokioTimer::new());
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}
