//! Until when pods may be reached: a node that is not heard of gives them up, each when its patience is over.
//!
//! It is asked by whoever is about to reach a pod, not kept by a timer: a process that was stopped must not hand out one more
//! connection when it wakes. Lacks any opinion about the times, which are the agent's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const FOREVER: u64 = u64::MAX;

/// The gate of a node's pods; open for ever until somebody says otherwise.
pub struct Gate {
    /// What the times are counted from.
    began: Instant,
    closes_millis: AtomicU64,
}

/// How much longer than others a pod may be reached.
pub(crate) struct Patience(AtomicU64);

impl Default for Patience {
    fn default() -> Self {
        Self(AtomicU64::new(FOREVER))
    }
}

impl Patience {
    pub(crate) fn set(&self, patience: Duration) {
        self.0.store(millis(patience), Ordering::Release);
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), closes_millis: AtomicU64::new(FOREVER) }
    }

    /// Pods without patience are reached until then.
    pub fn close_at(&self, at: Instant) {
        self.closes_millis.store(millis(at.saturating_duration_since(self.began)), Ordering::Release);
    }

    /// Whether pods without patience are not to be reached any more.
    pub(crate) fn is_closing(&self) -> bool {
        let closes = self.closes_millis.load(Ordering::Acquire);
        closes != FOREVER && millis(self.began.elapsed()) >= closes
    }

    /// Whether a pod is not to be reached any more.
    pub(crate) fn is_closed_to(&self, patience: &Patience) -> bool {
        let closes = self.closes_millis.load(Ordering::Acquire).saturating_add(patience.0.load(Ordering::Acquire));
        closes != FOREVER && millis(self.began.elapsed()) >= closes
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(FOREVER)
}
