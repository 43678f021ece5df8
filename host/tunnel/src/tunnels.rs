//! The ways to all peers: what the pod network asks for connections to other nodes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wherry_api::kinds::Node;
use wherry_api::routes::{MASTER_NAME, OFFER};
use wherry_api::well_known::NODE_USER;
use wherry_api::{ObjectKey, Revocations};
use wherry_base::Drain;
use wherry_client::{Client, Informer};
use wherry_vnet::{DialError, Peers, Stream};

use crate::ask::Ask;
use crate::dial::ALPN;
use crate::link::Open;
use crate::node::{NodeFacts, Reach};
use crate::peer::{Means, Peer};
use crate::pump;
use crate::relay::Relays;
use crate::table::Table;

/// How long a node that connects may be unknown here: it has joined just now.
const ACQUAINTANCE_MOST: Duration = Duration::from_secs(2);

/// The tunnels of a node.
#[derive(Debug)]
pub struct Tunnels {
    own_name: String,
    means: Means,
    table: Arc<ArcSwap<Table>>,
    /// Held while the table is replaced, and told of it.
    replaced: Mutex<()>,
    version: watch::Sender<u64>,
}

impl Tunnels {
    /// Tunnels to nobody yet. `tls` presents this node to others, and trusts whom the cluster's authority vouches for;
    /// `drain` owns all connections. A node that others cannot connect to is behind NAT.
    pub fn new(own_name: &str, mut tls: rustls::ClientConfig, is_behind_nat: bool, drain: Drain) -> Arc<Self> {
        let connector = |protocol: &[u8]| {
            tls.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(tls.clone()))
        };
        let [tls, offering] = [ALPN, OFFER].map(connector);
        let table = Arc::default();
        let relays = is_behind_nat.then(|| Relays::of(&table));
        Arc::new(Self {
            own_name: own_name.to_owned(),
            means: Means { tls, offering, drain, relays },
            table,
            replaced: Mutex::default(),
            version: watch::Sender::new(0),
        })
    }

    /// Keeps the table of peers as the API has the Nodes, without those whose certificates are revoked, until the drain.
    pub fn follow(self: &Arc<Self>, client: &Client, mut revocations: watch::Receiver<Revocations>) {
        let drain = &self.means.drain;
        let nodes = Informer::<NodeFacts>::spawn::<Node>(client.all(), "", "", drain);
        let tunnels = Arc::clone(self);
        drain.vital().spawn(async move {
            let mut changes = nodes.changes();
            nodes.synced().await;
            loop {
                let (all, revoked) = (nodes.snapshot(), revocations.borrow_and_update().clone());
                let trusted = all.iter().filter(|(key, _)| !revoked.cover(&format!("{NODE_USER}{}", key.name), ""));
                tunnels.set_peers(trusted.filter_map(|(key, node)| Some((&*key.name, node.0.clone()?))));
                let is_same = |key: &ObjectKey| nodes.get(key).as_ref() == all.get(key);
                let is_over = tokio::select! {
                    is_over = changed(&mut changes, is_same) => is_over,
                    changed = revocations.changed() => changed.is_err(),
                };
                if is_over {
                    return;
                }
            }
        });
    }

    /// The nodes there are, by name; this one is left out. Connections to those that are gone, or elsewhere, end at once.
    pub fn set_peers<'a>(&self, nodes: impl IntoIterator<Item = (&'a str, Reach)>) {
        let _one_at_a_time = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.table.load_full();
        let others = nodes.into_iter().filter(|(name, _)| *name != self.own_name);
        let new = Table::new(others.map(|(name, reach)| match old.named(name) {
            Some(known) if known.reach == reach => Arc::clone(known),
            _ => Peer::new(name, reach, self.means.clone()),
        }));
        let is_kept = |peer: &&Arc<Peer>| new.named(&peer.name).is_some_and(|kept| Arc::ptr_eq(kept, peer));
        let gone: Vec<Arc<Peer>> = old.peers().filter(|peer| !is_kept(peer)).cloned().collect();
        self.table.store(Arc::new(new));
        self.version.send_modify(|version| *version += 1);
        gone.iter().for_each(|peer| peer.gone.cancel());
    }

    /// The peer of that name; one that has joined just now may take a moment to be known.
    pub(crate) async fn peer(&self, name: &str) -> Option<Arc<Peer>> {
        let mut versions = self.version.subscribe();
        let known = versions.wait_for(|_| self.table.load().named(name).is_some());
        let _known_or_late = timeout(ACQUAINTANCE_MOST, known).await;
        self.table.load().named(name).cloned()
    }

    /// The peers at present, and news of when they are others.
    pub(crate) fn peers(&self) -> (Arc<Table>, watch::Receiver<u64>) {
        let versions = self.version.subscribe();
        (self.table.load_full(), versions)
    }

    /// A master, which has no pods.
    pub(crate) fn master(&self, at: SocketAddr) -> Arc<Peer> {
        Peer::new(MASTER_NAME, Reach { ranges: Vec::new(), endpoint: Some(at) }, self.means.clone())
    }

    pub(crate) fn own_name(&self) -> &str {
        &self.own_name
    }

    /// Whether others cannot connect to this node.
    pub(crate) const fn is_behind_nat(&self) -> bool {
        self.means.relays.is_some()
    }

    pub(crate) const fn tasks(&self) -> &Drain {
        &self.means.drain
    }

    fn of_address(&self, address: IpAddr) -> Option<Arc<Peer>> {
        self.table.load().of_address(address).cloned()
    }
}

/// Resolves when a Node is another to its peers, which it is by few of its changes; true where there will be no more.
async fn changed(changes: &mut Receiver<ObjectKey>, is_same: impl Fn(&ObjectKey) -> bool) -> bool {
    loop {
        match changes.recv().await {
            Ok(key) if is_same(&key) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return false,
            Err(RecvError::Closed) => return true,
        }
    }
}

#[async_trait]
impl Peers for Tunnels {
    async fn carry(&self, connection: Stream) -> Result<(), DialError> {
        let (from, to) = (connection.peer, connection.local);
        let peer = self.of_address(to.ip()).ok_or(DialError::PeerUnreachable)?;
        let Open { send, receive, counting } = peer.open(Ask::Connection { from, to }).await?;
        self.means.drain.spawn(async move {
            pump::join(connection, send, receive).await;
            drop(counting);
        });
        Ok(())
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()> {
        let peer = self.of_address(to.ip()).ok_or(io::ErrorKind::HostUnreachable)?;
        peer.send(from, to, payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_most_changes_nobody_hears() {
        let (sender, mut changes) = tokio::sync::broadcast::channel(4);
        let tell = |name| drop(sender.send(ObjectKey::new("", name)));
        ["same", "same", "other", "same"].into_iter().for_each(tell);
        let is_same = |key: &ObjectKey| *key.name == *"same";
        assert!(!changed(&mut changes, is_same).await);
        assert_eq!(changes.len(), 1, "it was told of the third");
        drop(sender);
        assert!(changed(&mut changes, is_same).await);
    }
}
