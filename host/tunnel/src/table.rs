//! Which node has which addresses: an immutable table that is swapped as a whole.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::peer::Peer;

/// The peers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_name: HashMap<String, Arc<Peer>>,
    /// By their first addresses; they do not overlap, for the API server gives them out.
    ranges: Vec<(IpNet, Arc<Peer>)>,
}

impl Table {
    pub(crate) fn new(peers: impl IntoIterator<Item = Arc<Peer>>) -> Self {
        let by_name: HashMap<String, Arc<Peer>> = peers.into_iter().map(|peer| (peer.name.clone(), peer)).collect();
        let of =
            |peer: &Arc<Peer>| peer.reach.ranges.iter().map(|range| (*range, Arc::clone(peer))).collect::<Vec<_>>();
        let mut ranges: Vec<(IpNet, Arc<Peer>)> = by_name.values().flat_map(of).collect();
        ranges.sort_by_key(|(range, _)| range.network());
        Self { by_name, ranges }
    }

    /// The peer of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Peer>> {
        self.by_name.get(name)
    }

    /// The peer whose pods have such addresses.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        let after = self.ranges.partition_point(|(range, _)| range.network() <= address);
        let (range, peer) = self.ranges.get(after.checked_sub(1)?)?;
        range.contains(&address).then_some(peer)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.by_name.values()
    }
}
