//! New connections for the pool: TCP or another way, then TLS; the server's choice decides between HTTP/2 and HTTP/1.1.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

const CONNECT_MOST: Duration = Duration::from_secs(10);

/// How often a connection in use is tried, and how long the other end may take to answer: one that leads nowhere any more is
/// given up, since else all requests would wait on it for the kernel's quarter of an hour.
const PING_PERIOD: Duration = Duration::from_secs(2);
const PING_PATIENCE: Duration = Duration::from_secs(15);

/// Pools of connections that are tried while they are in use.
pub fn pools() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new());
    builder.http2_keep_alive_interval(PING_PERIOD).http2_keep_alive_timeout(PING_PATIENCE);
    builder
}

/// An error with its causes.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A connection that another one carries: what was asked for with CONNECT.
pub type Carried = TokioIo<hyper::upgrade::Upgraded>;

/// A way to a server that cannot be connected to at its address.
#[async_trait]
pub trait Way: Send + Sync + 'static {
    /// A new connection to it, on which nothing was said yet.
    async fn open(&self) -> io::Result<Carried>;
}

/// Makes connections.
#[derive(Clone)]
pub struct TlsConnector {
    tls: tokio_rustls::TlsConnector,
    /// Whose certificate is expected, other than the host's.
    name: Option<ServerName<'static>>,
    /// In the place of TCP.
    way: Option<Arc<dyn Way>>,
}

/// A connection as the pool wants it.
pub struct Secured(TokioIo<TlsStream<Either<TcpStream, Carried>>>);

impl TlsConnector {
    /// The protocols that the configuration offers are for the server to choose from.
    pub fn new(config: rustls::ClientConfig) -> Self {
        Self::by(config, None, None)
    }

    pub(super) fn by(
        config: rustls::ClientConfig,
        name: Option<ServerName<'static>>,
        way: Option<Arc<dyn Way>>,
    ) -> Self {
        Self { tls: tokio_rustls::TlsConnector::from(Arc::new(config)), name, way }
    }

    /// A connection of its own, which no pool keeps.
    pub(super) async fn open(&self, uri: http::Uri) -> io::Result<Secured> {
        let connected = tokio::time::timeout(CONNECT_MOST, self.clone().connect(uri)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect(self, uri: http::Uri) -> io::Result<Secured> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let connection = match &self.way {
            Some(way) => Either::Right(way.open().await?),
            None => {
                let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
                tcp.set_nodelay(true)?;
                Either::Left(tcp)
            }
        };
        let name = match self.name {
            Some(name) => name,
            None => ServerName::try_from(host).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?,
        };
        Ok(Secured(TokioIo::new(self.tls.connect(name, connection).await?)))
    }
}

impl tower::Service<http::Uri> for TlsConnector {
    type Response = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.open(uri).await })
    }
}

impl Connection for Secured {
    fn connected(&self) -> Connected {
        let (_, session) = self.0.inner().get_ref();
        if session.alpn_protocol() == Some(b"h2") { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
