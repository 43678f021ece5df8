//! The endpoints of one port of a Service, and the choice among them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that refused a connection is passed over while there are others.
const AVOID: Duration = Duration::from_secs(2);

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// An address that serves, with what this node knows of its load. It outlives the table it was in, as long as
/// requests to it are in flight.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    outstanding: AtomicUsize,
    /// Milliseconds after `EPOCH` until which others are preferred; 0 for never refused.
    avoid_until: AtomicU64,
}

/// Who may be asked next.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    endpoints: Vec<Arc<Endpoint>>,
    sticky: bool,
    next: AtomicUsize,
}

/// A request in flight: counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Endpoint>);

impl Endpoint {
    pub(crate) fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self { address, outstanding: AtomicUsize::new(0), avoid_until: AtomicU64::new(0) })
    }

    /// Counts a request until the permit is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Permit {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(self))
    }

    /// Prefers others for a while: this one took no connection.
    pub(crate) fn avoid(&self) {
        let until = Instant::now().duration_since(*EPOCH) + AVOID;
        self.avoid_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_avoided(&self) -> bool {
        let until = self.avoid_until.load(Ordering::Relaxed);
        until != 0 && Instant::now().duration_since(*EPOCH) < Duration::from_millis(until)
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
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>, sticky: bool, old: Option<&Self>) -> Self {
        let known = |address| old.and_then(|old| old.known(address));
        let keep = |address| known(address).cloned().unwrap_or_else(|| Endpoint::new(address));
        let next = old.map_or(0, |old| old.next.load(Ordering::Relaxed));
        Self { endpoints: addresses.into_iter().map(keep).collect(), sticky, next: AtomicUsize::new(next) }
    }

    /// The endpoint to ask. Idle endpoints come in turn; a busy one yields to the one after it if that has less to do;
    /// those that refused lately come last.
    pub(crate) fn choose(&self, from: IpAddr) -> Option<&Arc<Endpoint>> {
        if self.sticky {
            return self.sticky(from, false).or_else(|| self.sticky(from, true));
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..self.endpoints.len()).filter_map(|offset| self.at(turn.wrapping_add(offset)));
        let Some(first) = in_turn.find(|endpoint| !endpoint.is_avoided()) else { return self.at(turn) };
        match in_turn.find(|endpoint| !endpoint.is_avoided()) {
            Some(second) if second.load() < first.load() => Some(second),
            _ => Some(first),
        }
    }

    fn known(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        let at = self.endpoints.binary_search_by_key(&address, |endpoint| endpoint.address).ok()?;
        self.endpoints.get(at)
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
    }

    fn at(&self, turn: usize) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(turn.checked_rem(self.endpoints.len())?)
    }

    /// The endpoint whose hash with the client's address is highest: it stays when others come and go.
    fn sticky(&self, from: IpAddr, avoided: bool) -> Option<&Arc<Endpoint>> {
        let candidates = self.endpoints.iter().filter(|endpoint| avoided || !endpoint.is_avoided());
        candidates.max_by_key(|endpoint| {
            let mut hasher = DefaultHasher::new();
            (from, endpoint.address).hash(&mut hasher);
            hasher.finish()
        })
    }
}
