//! The side that is asked: connections that other nodes make, and what each of their streams may reach.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use wherry_vnet::{Network, Stream};

use crate::ANSWER_MOST;
use crate::ask::{Ask, status_of};
use crate::datagrams;
use crate::dial::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEAD_BYTES_MAX, SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::health::{self, Counting, Idle, Load};
use crate::heard::Heard;
use crate::peer::Peer;
use crate::pump;
use crate::tunnels::Tunnels;

/// How long a connection without streams is kept: longer than the other side keeps it.
const IDLE: Idle = Idle::EndAfter(Duration::from_secs(600));

/// How many streams may have been given up by the other side before they were looked at here. Guests decide when they give
/// up, so that this must not cost the connection.
const GIVEN_UP_MAX: usize = 4096;

/// Serves the connections of other nodes.
#[derive(Clone)]
pub struct TunnelServer {
    pub(crate) tunnels: Arc<Tunnels>,
    network: Arc<Network>,
    /// Where this node takes connections of others.
    pub(crate) endpoints: SocketAddr,
}

impl TunnelServer {
    /// `network` is the one that `tunnels` was given to; at `endpoints` this node takes connections, by whichever way they come.
    pub fn new(tunnels: Arc<Tunnels>, network: Arc<Network>, endpoints: SocketAddr) -> Self {
        let server = Self { tunnels, network, endpoints };
        if server.tunnels.is_behind_nat() {
            server.offer();
        }
        server
    }

    /// Serves a connection of the node of that name, which TLS has verified, until it ends, the node is no peer any more, or
    /// `until` resolves. `place` is held meanwhile.
    pub fn take<T>(
        &self,
        node: String,
        io: T,
        place: impl Send + 'static,
        until: impl Future<Output = ()> + Send + 'static,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = self.clone();
        self.hold(async move { server.serve(&node, io).await }, place, until);
    }

    /// Drives a connection to its end, or until `until` resolves; holds its place meanwhile.
    pub(crate) fn hold(
        &self,
        driven: impl Future<Output = ()> + Send + 'static,
        place: impl Send + 'static,
        until: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tunnels.tasks().spawn(async move {
            tokio::select! {
                () = driven => {}
                () = until => {}
            }
            drop(place);
        });
    }

    async fn serve<T: AsyncRead + AsyncWrite + Unpin>(&self, node: &str, io: T) {
        if let Some((peer, _place)) = self.admit(node).await {
            self.answer_over(&peer, io, IDLE).await;
        }
    }

    /// The peer of that name, and the place of a connection that it has made.
    pub(crate) async fn admit(&self, node: &str) -> Option<(Arc<Peer>, OwnedSemaphorePermit)> {
        let Some(peer) = self.tunnels.peer(node).await else {
            tracing::debug!(node, "a connection of a node that is no peer");
            return None;
        };
        let Ok(place) = Arc::clone(&peer.inward).try_acquire_owned() else {
            tracing::debug!(node, "more connections of a node than it may have");
            return None;
        };
        Some((peer, place))
    }

    /// Answers what a peer asks over a connection, until its end.
    pub(crate) async fn answer_over<T: AsyncRead + AsyncWrite + Unpin>(&self, peer: &Arc<Peer>, io: T, idle: Idle) {
        let (io, heard) = Heard::over(io);
        match timeout(ANSWER_MOST, builder().handshake(io)).await {
            Ok(Ok(connection)) => self.drive(peer, connection, heard, idle).await,
            Ok(Err(error)) => tracing::debug!(node = %peer.name, %error, "a node does not speak HTTP/2"),
            Err(_) => tracing::debug!(node = %peer.name, "a node does not begin to speak HTTP/2"),
        }
    }

    async fn drive<T>(&self, peer: &Arc<Peer>, mut connection: Connection<T, Bytes>, heard: Heard, idle: Idle)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(pings) = connection.ping_pong() else { return };
        let load = Load::new();
        let mut verdict = pin!(health::watch(pings, &load, &heard, idle));
        loop {
            let accepted = tokio::select! {
                biased;
                () = peer.gone.cancelled() => return,
                accepted = connection.accept() => accepted,
                _dead_or_idle = &mut verdict => return,
            };
            let Some(Ok((request, respond))) = accepted else { return };
            self.tunnels.tasks().spawn(self.clone().answer(Arc::clone(peer), request, respond, load.begin()));
        }
    }

    /// Answers one request of a peer, to the end of the stream that it asked for.
    async fn answer(
        self,
        peer: Arc<Peer>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        counting: Counting,
    ) {
        let granted = match Ask::read(&request) {
            Ok(ask) => self.grant(&peer, ask).await,
            Err(status) => Err(status),
        };
        let status = granted.as_ref().err().copied().unwrap_or(StatusCode::OK);
        let mut response = Response::new(());
        *response.status_mut() = status;
        let Ok(send) = respond.send_response(response, granted.is_err()) else { return };
        let receive = request.into_body();
        match granted {
            Ok(Granted::Connection(stream)) => {
                pump::join(stream, send, receive).await;
                drop(counting);
            }
            Ok(Granted::Datagrams) => datagrams::receive(peer, self.network, send, receive, counting).await,
            Err(status) => tracing::debug!(node = %peer.name, %status, "a node was refused a stream"),
        }
    }

    /// What a peer may have: pods of this node, for pods of its own; and ways to nodes.
    async fn grant(&self, peer: &Peer, ask: Ask) -> Result<Granted, StatusCode> {
        let connection = match ask {
            Ask::Connection { from, .. } if !peer.has(from.ip()) => return Err(StatusCode::FORBIDDEN),
            Ask::Connection { from, to } => self.network.open(from, to).await,
            Ask::Relay(node) => self.relay(peer, &node).await,
            Ask::Datagrams => return Ok(Granted::Datagrams),
        };
        connection.map(Granted::Connection).map_err(|error| status_of(&error))
    }
}

/// What a stream is joined to.
enum Granted {
    Connection(Stream),
    Datagrams,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(GIVEN_UP_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
    builder
}
