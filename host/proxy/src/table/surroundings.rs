//! Where endpoints are, as seen from this node, and which of them come first for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long who took no connection is passed over while there are others.
const AVOID: Duration = Duration::from_secs(2);

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Whether others are preferred for a while, to an endpoint or to all of a node.
#[derive(Debug, Default)]
pub(crate) struct Avoidance {
    /// Nanoseconds after `EPOCH`; 0 for never.
    until: AtomicU64,
}

/// How far away an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    SameNode,
    SameZone,
    Elsewhere,
}

/// Which endpoints come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spread {
    /// All are equal.
    #[default]
    Even,
    /// `trafficDistribution: PreferSameZone`, or `PreferClose`.
    SameZone,
    /// `trafficDistribution: PreferSameNode`; then those of the zone.
    SameNode,
    /// A traffic policy of `Local`: no others.
    OnlySameNode,
}

/// This node, and what it knows of others.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    node: String,
    zone: Option<String>,
    others: HashMap<String, Arc<Avoidance>>,
}

impl Avoidance {
    pub(crate) fn begin(&self) {
        let until = Instant::now().duration_since(*EPOCH) + AVOID;
        self.until.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        let until = self.until();
        until != 0 && Instant::now().duration_since(*EPOCH) < Duration::from_nanos(until)
    }

    /// The later, the later it began; 0 for never.
    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }
}

impl Spread {
    /// How late endpoints at a distance come; `None`: never.
    pub(crate) const fn tier(self, distance: Distance) -> Option<usize> {
        match (self, distance) {
            (Self::Even, _) | (_, Distance::SameNode) | (Self::SameZone, Distance::SameZone) => Some(0),
            (Self::SameNode, Distance::SameZone) | (Self::SameZone, Distance::Elsewhere) => Some(1),
            (Self::SameNode, Distance::Elsewhere) => Some(2),
            (Self::OnlySameNode, _) => None,
        }
    }
}

impl Surroundings {
    /// Nothing is known of others yet.
    pub(crate) fn of(node: &str) -> Self {
        Self { node: node.to_owned(), ..Self::default() }
    }

    /// The zone of this node is known, or has changed; whether it has.
    pub(crate) fn set_zone(&mut self, zone: Option<String>) -> bool {
        let old = std::mem::replace(&mut self.zone, zone);
        old != self.zone
    }

    pub(crate) fn distance(&self, node: Option<&str>, zone: Option<&str>) -> Distance {
        if node == Some(self.node.as_str()) {
            return Distance::SameNode;
        }
        let is_same = zone.is_some() && zone == self.zone.as_deref();
        if is_same { Distance::SameZone } else { Distance::Elsewhere }
    }

    /// What all endpoints of a node share; those whose node is not told have their own.
    pub(crate) fn node(&mut self, name: Option<&str>) -> Arc<Avoidance> {
        let Some(name) = name else { return Arc::default() };
        Arc::clone(self.others.entry(name.to_owned()).or_default())
    }

    /// Forgets nodes that no endpoint is on.
    pub(crate) fn sweep(&mut self) {
        self.others.retain(|_, node| Arc::strong_count(node) > 1);
    }
}
