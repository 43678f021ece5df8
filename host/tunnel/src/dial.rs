//! Making a connection to a peer: TCP, mutual TLS, HTTP/2.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::ANSWER_MOST;
use crate::heard::{Counted, Heard};

/// How much a stream may have on its way, unread: what a fast network needs to keep going.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// How many streams a connection carries at a time.
pub(crate) const STREAMS_MAX: u32 = 128;
/// All streams' windows together, so that those whose readers are slow never stop the others.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX;
/// How much of a stream waits here to be sent.
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// The largest piece of a stream that others wait behind.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// The largest head of a request; they are small.
pub(crate) const HEAD_BYTES_MAX: u32 = 4096;

/// How long the other machine may take to answer at all.
const CONNECT_MOST: Duration = Duration::from_secs(1);

/// The protocol, as TLS names it.
pub(crate) const ALPN: &[u8] = b"h2";

/// A connection that is ready for streams, and what drives it.
pub(crate) struct Dialed<T> {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) connection: Connection<Counted<T>, Bytes>,
    pub(crate) heard: Heard,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The node does not answer in time.
    #[error("no answer in time")]
    Slow,
    /// Nobody listens, or it is not the node that was meant.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither can be connected to, and no other node passes on what the one sends to the other.
    #[error("no node passes connections on")]
    NoRelay,
    /// It does not speak the protocol.
    #[error("no HTTP/2")]
    Protocol(#[from] h2::Error),
}

/// Connects to the node of that name, and agrees on a protocol.
pub(crate) async fn connect(
    tls: &TlsConnector,
    protocol: &[u8],
    node: &str,
    to: SocketAddr,
) -> Result<TlsStream<TcpStream>, Failure> {
    let stream = within(CONNECT_MOST, TcpStream::connect(to)).await??;
    stream.set_nodelay(true)?;
    secure(tls, protocol, node, stream).await
}

/// The same over a connection that is there.
pub(crate) async fn secure<T>(
    tls: &TlsConnector,
    protocol: &[u8],
    node: &str,
    stream: T,
) -> Result<TlsStream<T>, Failure>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(node.to_owned()).map_err(io::Error::other)?;
    let stream = within(ANSWER_MOST, tls.connect(name, stream)).await??;
    if stream.get_ref().1.alpn_protocol() != Some(protocol) {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    }
    Ok(stream)
}

/// Makes ready a connection over which this node asks.
pub(crate) async fn handshake<T>(stream: T) -> Result<Dialed<T>, Failure>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, heard) = Heard::over(stream);
    let (requests, connection) = within(ANSWER_MOST, builder().handshake(stream)).await??;
    Ok(Dialed { requests, connection, heard })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .enable_push(false);
    builder
}

async fn within<T>(most: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(most, work).await.map_err(|_| Failure::Slow)
}
