//! Two nodes of which neither can be connected to, behind NAT both: a third, which both have connected to, passes bytes on.
//!
//! What it passes on is a connection as it would be without it, mutual TLS between the two included: it can end it, and
//! neither read it nor speak for anybody. Lacks a preference among those that could: any will do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wherry_base::Drain;
use wherry_vnet::{DialError, Stream, pair};

use crate::ask::Ask;
use crate::dial::{ALPN, Failure, secure};
use crate::link::Open;
use crate::peer::Peer;
use crate::pump;
use crate::server::TunnelServer;
use crate::table::Table;

/// How many nodes are asked to pass a connection on before it counts as impossible.
const RELAYS_TRIED_MAX: usize = 3;
/// The ends of what is passed on have no addresses.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The nodes that may pass connections on for this one; weak, since the table holds those who ask it.
#[derive(Clone)]
pub(crate) struct Relays(Weak<ArcSwap<Table>>);

impl Relays {
    pub(crate) fn of(table: &Arc<ArcSwap<Table>>) -> Self {
        Self(Arc::downgrade(table))
    }

    /// Connects to a node by way of another.
    pub(crate) async fn connect(&self, to: &Peer) -> Result<TlsStream<Stream>, Failure> {
        let table = self.0.upgrade().map(|table| table.load_full()).unwrap_or_default();
        for relay in table.peers().filter(|peer| peer.reach.endpoint.is_some()).take(RELAYS_TRIED_MAX) {
            match relay.open(Ask::Relay(to.name.clone())).await {
                Ok(open) => return secure(&to.means.tls, ALPN, &to.name, joined(open, &to.means.drain)).await,
                Err(error) => tracing::debug!(by = %relay.name, to = %to.name, %error, "a node passes nothing on"),
            }
        }
        Err(Failure::NoRelay)
    }
}

/// A stream of a tunnel, as a connection.
fn joined(Open { send, receive, counting }: Open, drain: &Drain) -> Stream {
    let (ours, theirs) = pair(NOWHERE, NOWHERE);
    drain.spawn(async move {
        pump::join(theirs, send, receive).await;
        drop(counting);
    });
    ours
}

impl TunnelServer {
    /// A way to the node of that name for another: to this one's own endpoints; or to a peer's, if neither of the two can be
    /// connected to.
    pub(crate) async fn relay(&self, by: &Peer, node: &str) -> Result<Stream, DialError> {
        let drain = self.tunnels.tasks();
        if node == self.tunnels.own_name() {
            let mut own = TcpStream::connect(self.endpoints).await?;
            own.set_nodelay(true)?;
            let (ours, mut theirs) = pair(NOWHERE, NOWHERE);
            drain.spawn(async move {
                let _broken = copy_bidirectional(&mut own, &mut theirs).await;
            });
            return Ok(ours);
        }
        let (table, _) = self.tunnels.peers();
        let to = table.named(node).filter(|peer| peer.reach.endpoint.is_none() && by.reach.endpoint.is_none());
        let open = to.ok_or(DialError::PeerUnreachable)?.open(Ask::Relay(node.to_owned())).await?;
        Ok(joined(open, drain))
    }
}
