//! HTTPS: connections, client certificates, graceful end. A connection that a node offers is taken for asking that node.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wherry_api::Revocations;
use wherry_api::routes::OFFER;
use wherry_base::{Accepted, Acceptor, Drain};
use wherry_pki::Holder;

use crate::authenticate::Peer;
use crate::http::{Context, Offers, Readiness, call, router};
use crate::identity::Identity;
use crate::registry::Registry;

/// How many connections are served at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 8192;
const HANDSHAKE_MOST: Duration = Duration::from_secs(10);
const HEAD_MOST: Duration = Duration::from_secs(10);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
/// How long a connection may finish its requests when the server drains.
const FINISH_MOST: Duration = Duration::from_secs(5);
/// How long a connection goes on whose client's certificate is revoked: what is asked then is refused, which tells the client more.
const REVOKED_MOST: Duration = Duration::from_secs(1);
/// How long who has no certificate may stay: time enough to ask for health and version.
const STRANGERS_MOST: Duration = Duration::from_secs(30);
const STREAMS_A_CONNECTION_MAX: u32 = 256;
/// The same of another master, which passes on what its clients ask.
const STREAMS_OF_A_MASTER_MAX: u32 = 8192;
/// What of an answer waits in memory for a client that does not read, a stream.
const UNREAD_BYTES_MAX: usize = 64 * 1024;
/// What a head may take, in bytes: above that it is refused.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// What the server presents and demands.
#[derive(Clone)]
pub struct ServeConfig {
    /// Certificate and verification of client certificates (optional at this level: without one, a client is anonymous). With
    /// [`OFFER`] among its protocols, where nodes may offer connections.
    pub tls: Arc<rustls::ServerConfig>,
    /// What the API server presents to kubelets, whose logs it fetches.
    pub kubelet_tls: Arc<rustls::ClientConfig>,
    /// The address that kubeconfigs name, such as `https://127.0.0.1:6443`.
    pub advertise_url: String,
    /// What `/readyz` says; the binary sets it.
    pub readiness: Readiness,
    /// What answers below `/v2/`, which is no path of Kubernetes': the image registry. It finds the [`Identity`] of who asks
    /// in the request's extensions, and decides itself who may do what.
    pub images: Router,
    /// What a master that joins is given: the keys that all masters share, as JSON.
    pub master_keys: Bytes,
}

/// Serves the API on `listener` until the drain; resolves when the last connection has ended.
pub async fn serve(listener: TcpListener, registry: Registry, config: ServeConfig, drain: Drain) {
    let revocations = wherry_client::revocations(&registry.client(Identity::component("apiserver")), &drain);
    let context = Context::new(registry.clone(), &config, revocations.clone(), drain.clone());
    let (offers, router) = (context.kubelets.offers.clone(), router(context));
    let tls = TlsAcceptor::from(config.tls);
    let server = Server { tls, router, offers, registry, revocations, drain: drain.clone() };
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, place, .. }) = acceptor.next().await {
        let server = server.clone();
        drain.spawn_graceful(async move {
            server.take(stream).await;
            drop(place);
        });
    }
}

/// What all connections need.
#[derive(Clone)]
struct Server {
    tls: TlsAcceptor,
    router: Router,
    offers: Offers,
    registry: Registry,
    revocations: watch::Receiver<Revocations>,
    drain: Drain,
}

impl Server {
    async fn take(self, stream: TcpStream) {
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MOST, self.tls.accept(stream)).await else { return };
        let peer = Peer { certificate: certificate(&stream) };
        if stream.get_ref().1.alpn_protocol() == Some(OFFER) {
            return self.take_offer(&peer, stream).await;
        }
        self.connection(peer, stream).await;
    }

    async fn connection(self, peer: Peer, stream: TlsStream<TcpStream>) {
        let (router, caller) = (self.router, peer.clone());
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            call(router.clone(), caller.clone(), request.map(Body::new))
        });
        let builder = builder(peer.certificate.as_ref().is_some_and(|(identity, _)| identity.is_master()));
        let revoked = async {
            peer.revoked(self.revocations).await;
            tokio::time::sleep(REVOKED_MOST).await;
        };
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = revoked => return,
            () = self.drain.ended() => connection.as_mut().graceful_shutdown(),
            () = tokio::time::sleep(STRANGERS_MOST), if peer.certificate.is_none() => {
                connection.as_mut().graceful_shutdown();
            }
        }
        let _finished = tokio::time::timeout(FINISH_MOST, connection).await;
    }

    async fn take_offer(&self, peer: &Peer, stream: TlsStream<TcpStream>) {
        let Some((identity, serial)) = &peer.certificate else { return };
        let node = identity.node_name().filter(|_| !self.registry.is_revoked(&identity.user, serial));
        let Some(node) = node else { return tracing::debug!(identity.user, "an offer of who is no node") };
        let until = async {
            tokio::select! {
                () = peer.revoked(self.revocations.clone()) => {}
                () = self.drain.ended() => {}
            }
        };
        self.offers.take(node, stream, until).await;
    }
}

/// What is granted to a client: more to another master.
fn builder(is_master: bool) -> auto::Builder<TokioExecutor> {
    let streams_max = if is_master { STREAMS_OF_A_MASTER_MAX } else { STREAMS_A_CONNECTION_MAX };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MOST).max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_EVERY)
        .max_concurrent_streams(streams_max)
        .max_send_buf_size(UNREAD_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
    builder
}

/// Who the client's certificate says it is, and its serial number.
fn certificate(stream: &TlsStream<TcpStream>) -> Option<(Identity, String)> {
    let Holder { user, mut groups, serial } = Holder::of_peer(stream.get_ref().1)?;
    groups.push("system:authenticated".to_owned());
    Some((Identity { user, groups }, serial))
}
