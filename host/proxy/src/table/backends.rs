//! The endpoints of one port of a Service, and the choice among them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wherry_vnet::DialError;

use super::surroundings::{Avoidance, Distance, Spread};

/// How many more requests than a farther endpoint a nearer one may have before the farther one is taken.
const NEARER_LOAD_MAX: usize = 32;

/// An address that serves, with what this node knows of its load. It outlives the table it was in, as long as
/// requests to it are in flight.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// What it shares with the others of its node.
    pub(super) node: Arc<Avoidance>,
    own: Avoidance,
    outstanding: AtomicUsize,
}

/// Where an endpoint is.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) distance: Distance,
    pub(crate) node: Arc<Avoidance>,
}

/// Who may be asked next.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    /// The nearest first; each in the order of addresses.
    tiers: Vec<Vec<Arc<Endpoint>>>,
    sticky: bool,
    next: AtomicUsize,
}

/// A request in flight: counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Endpoint>);

impl Endpoint {
    fn new(site: Site) -> Arc<Self> {
        let Site { address, node, .. } = site;
        Arc::new(Self { address, node, own: Avoidance::default(), outstanding: AtomicUsize::new(0) })
    }

    /// Counts a request until the permit is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Permit {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(self))
    }

    /// Prefers others for a while: this one has broken a connection.
    pub(crate) fn avoid(&self) {
        self.own.begin();
    }

    /// Prefers others for a while: this one took no connection, or its whole node cannot be reached.
    pub(crate) fn failed(&self, why: &DialError) {
        self.own.begin();
        if matches!(why, DialError::PeerUnreachable) {
            self.node.begin();
        }
    }

    fn is_avoided(&self) -> bool {
        self.own.is_on() || self.node.is_on()
    }

    fn avoided_until(&self) -> u64 {
        self.own.until().max(self.node.until())
    }

    fn load(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backends {
    /// The addresses come in order. Endpoints that were in `old` go on with their counts; a sticky set sends a client
    /// to one endpoint always.
    pub(crate) fn new(sites: impl IntoIterator<Item = Site>, spread: Spread, sticky: bool, old: Option<&Self>) -> Self {
        let mut tiers: Vec<Vec<Arc<Endpoint>>> = Vec::new();
        for site in sites {
            let Some(tier) = spread.tier(site.distance) else { continue };
            let known = old.and_then(|old| old.known(site.address));
            let same = known.filter(|known| Arc::ptr_eq(&known.node, &site.node)).cloned();
            if tiers.len() <= tier {
                tiers.resize_with(tier + 1, Vec::new);
            }
            if let Some(tier) = tiers.get_mut(tier) {
                tier.push(same.unwrap_or_else(|| Endpoint::new(site)));
            }
        }
        let next = old.map_or(0, |old| old.next.load(Ordering::Relaxed));
        Self { tiers, sticky, next: AtomicUsize::new(next) }
    }

    /// The endpoint to ask: a near one, unless it has much more to do than one that is farther away; those that failed
    /// lately come last.
    pub(crate) fn choose(&self, from: IpAddr) -> Option<&Arc<Endpoint>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut best: Option<&Arc<Endpoint>> = None;
        for tier in &self.tiers {
            let found = if self.sticky { in_affinity(tier, from) } else { in_turn(tier, turn) };
            let Some(found) = found else { continue };
            if best.is_none_or(|near| near.load() > found.load() + NEARER_LOAD_MAX) {
                best = Some(found);
            }
        }
        best.or_else(|| self.avoided())
    }

    /// The endpoint of that address.
    pub(crate) fn known(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.tiers.iter().find_map(|tier| {
            let at = tier.binary_search_by_key(&address, |endpoint| endpoint.address).ok()?;
            tier.get(at)
        })
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.tiers.iter().flatten().map(|endpoint| endpoint.address.to_string()).collect()
    }

    /// All have failed lately: then the one whose failure is the longest ago, so that who tries several tries each once.
    fn avoided(&self) -> Option<&Arc<Endpoint>> {
        self.tiers.iter().flatten().min_by_key(|endpoint| endpoint.avoided_until())
    }
}

/// Idle endpoints come in turn; a busy one yields to the one after it if that has less to do.
fn in_turn(tier: &[Arc<Endpoint>], turn: usize) -> Option<&Arc<Endpoint>> {
    let mut in_turn = (0..tier.len()).filter_map(|offset| at(tier, turn.wrapping_add(offset)));
    let first = in_turn.find(|endpoint| !endpoint.is_avoided())?;
    match in_turn.find(|endpoint| !endpoint.is_avoided()) {
        Some(second) if second.load() < first.load() => Some(second),
        _ => Some(first),
    }
}

/// The endpoint whose hash with the client's address is highest: it stays when others come and go.
fn in_affinity(tier: &[Arc<Endpoint>], from: IpAddr) -> Option<&Arc<Endpoint>> {
    let candidates = tier.iter().filter(|endpoint| !endpoint.is_avoided());
    candidates.max_by_key(|endpoint| {
        let mut hasher = DefaultHasher::new();
        (from, endpoint.address).hash(&mut hasher);
        hasher.finish()
    })
}

fn at(tier: &[Arc<Endpoint>], turn: usize) -> Option<&Arc<Endpoint>> {
    tier.get(turn.checked_rem(tier.len())?)
}
