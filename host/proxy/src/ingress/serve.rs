//! The connections of the ingress: accepted, limited in number and in patience, ended gracefully.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::InspectReader;
use wherry_base::{Accepted, Acceptor, Drain};

use super::forward::Forwarder;
use super::headers::Client;
use super::patience::{Counted, Patience};

/// How many connections each listener serves at a time; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 16_384;

/// How long a client may take for its TLS handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head at most.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Requests in flight on one HTTP/2 connection.
const STREAMS_MAX: u32 = 250;

/// How long requests in flight may take when the process ends.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// How long a client that is turned out for its silence has to take note.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Serves plain HTTP until the owner drains.
pub(crate) async fn serve_http(listener: TcpListener, forwarder: Arc<Forwarder>, drain: Drain) {
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, peer, place }) = acceptor.next().await {
        let (forwarder, ending) = (Arc::clone(&forwarder), drain.clone());
        drain.spawn_graceful(async move {
            let client = client(&stream, peer, false);
            serve_connection(stream, client, forwarder, &ending).await;
            drop(place);
        });
    }
}

/// Serves HTTPS until the owner drains.
pub(crate) async fn serve_https(listener: TcpListener, tls: TlsAcceptor, forwarder: Arc<Forwarder>, drain: Drain) {
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, drain.clone());
    while let Some(Accepted { stream, peer, place }) = acceptor.next().await {
        let (tls, forwarder, ending) = (tls.clone(), Arc::clone(&forwarder), drain.clone());
        drain.spawn_graceful(async move {
            let client = client(&stream, peer, true);
            if let Ok(Ok(stream)) = timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                serve_connection(stream, client, forwarder, &ending).await;
            }
            drop(place);
        });
    }
}

/// Who is at the other end.
fn client(stream: &TcpStream, peer: SocketAddr, tls: bool) -> Client {
    let port = stream.local_addr().map_or(0, |local| local.port());
    Client::new(peer, port, tls)
}

/// Serves one connection until it ends, or until its requests in flight are done once the owner drains.
pub(crate) async fn serve_connection<S>(stream: S, client: Client, forwarder: Arc<Forwarder>, drain: &Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, patience) = (Arc::new(client), Arc::new(Patience::default()));
    let reader = Arc::clone(&patience);
    let stream = InspectReader::new(stream, move |_: &[u8]| reader.has_read());
    let counter = Arc::clone(&patience);
    let service = service_fn(move |request| {
        let (client, forwarder, in_flight) = (Arc::clone(&client), Arc::clone(&forwarder), counter.begin());
        async move {
            let response = forwarder.serve(&client, request).await;
            Ok::<_, Infallible>(response.map(|body| Counted { body, _in_flight: in_flight }))
        }
    });
    let builder = builder();
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let time = tokio::select! {
        _clients_come_and_go = connection.as_mut() => return,
        () = patience.ended() => GOODBYE_MAX,
        () = drain.ended() => DRAIN_MAX,
    };
    connection.as_mut().graceful_shutdown();
    let _in_flight_or_late = timeout(time, connection).await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None).max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX);
    builder
}
