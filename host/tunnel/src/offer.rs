//! A node that others cannot connect to, behind NAT: it connects to them, and over these connections they ask.
//!
//! The protocol that TLS agrees on ([`OFFER`]) says so; after it the two change sides, and all is as over a connection that the
//! other had made. How two such nodes reach each other is `relay`'s.
//!
//! Masters get such connections too, for what they want of the node's endpoints. To them a node is nothing else than endpoints,
//! and of a master no pod is believed: it is a peer without any.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use wherry_api::routes::OFFER;
use wherry_base::Backoff;

use crate::ANSWER_MOST;
use crate::dial::{connect, handshake};
use crate::health::Idle;
use crate::peer::Peer;
use crate::server::TunnelServer;

/// How many such connections a node keeps to each other.
const OFFERED: usize = 4;
/// How often one without streams is tried: NAT forgets what is silent for minutes.
const IDLE: Idle = Idle::TryEvery(Duration::from_secs(15));
/// The same of one to a master.
const IDLE_TO_MASTER: Idle = Idle::BearWith(Duration::from_secs(15));
/// How long a node waits before it connects again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl TunnelServer {
    /// From now on this node, which others cannot connect to, keeps connections to all that can be, until the drain.
    pub(crate) fn offer(&self) {
        let server = self.clone();
        self.tunnels.tasks().vital().spawn(async move {
            let mut offered: Vec<Arc<Peer>> = Vec::new();
            loop {
                let (table, mut changes) = server.tunnels.peers();
                let peers: Vec<_> = table.peers().filter(|peer| peer.reach.endpoint.is_some()).cloned().collect();
                for peer in peers.iter().filter(|peer| !offered.iter().any(|known| Arc::ptr_eq(known, peer))) {
                    for _ in 0..OFFERED {
                        server.tunnels.tasks().spawn(server.clone().keep_offering(Arc::clone(peer), IDLE));
                    }
                }
                offered = peers;
                if changes.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// From now on this node keeps a connection to each of the masters, which are at these addresses at present, until the drain.
    pub fn offer_to_masters(&self, mut masters: watch::Receiver<Vec<SocketAddr>>) {
        let server = self.clone();
        self.tunnels.tasks().vital().spawn(async move {
            let mut offered: Vec<Arc<Peer>> = Vec::new();
            loop {
                let present = masters.borrow_and_update().clone();
                let is_present = |peer: &Arc<Peer>| peer.reach.endpoint.is_some_and(|at| present.contains(&at));
                offered.extract_if(.., |peer| !is_present(peer)).for_each(|peer| peer.gone.cancel());
                for at in present {
                    if !offered.iter().any(|peer| peer.reach.endpoint == Some(at)) {
                        let master = server.tunnels.master(at);
                        server.tunnels.tasks().spawn(server.clone().keep_offering(Arc::clone(&master), IDLE_TO_MASTER));
                        offered.push(master);
                    }
                }
                if masters.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Asks over a connection that the node of that name, which TLS has verified, has made for it, until `until` resolves. `place` is held
    /// meanwhile.
    pub fn take_offer<T>(
        &self,
        node: String,
        io: T,
        place: impl Send + 'static,
        until: impl Future<Output = ()> + Send + 'static,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = self.clone();
        self.hold(async move { server.ask_over(&node, io).await }, place, until);
    }

    async fn ask_over<T: AsyncRead + AsyncWrite + Unpin>(&self, node: &str, io: T) {
        let Some((peer, _place)) = self.admit(node).await else { return };
        if peer.reach.endpoint.is_some() {
            return tracing::debug!(node, "an offer of a node that can be connected to");
        }
        match timeout(ANSWER_MOST, handshake(io)).await {
            Ok(Ok(dialed)) => peer.drive(dialed, IDLE).await,
            Ok(Err(error)) => tracing::debug!(node, %error, "a node's offer does not hold"),
            Err(_) => tracing::debug!(node, "a node does not answer over what it offers"),
        }
    }

    async fn keep_offering(self, peer: Arc<Peer>, idle: Idle) {
        let Some(at) = peer.reach.endpoint else { return };
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        let offering = async {
            loop {
                let began = Instant::now();
                match connect(&peer.means.offering, OFFER, &peer.name, at).await {
                    Ok(connection) => self.answer_over(&peer, connection, idle).await,
                    Err(error) => tracing::debug!(node = %peer.name, %at, %error, "a node cannot be connected to"),
                }
                if began.elapsed() > AGAIN.1 {
                    backoff.reset();
                }
                sleep(backoff.fail()).await;
            }
        };
        peer.gone.run_until_cancelled(offering).await;
    }
}
