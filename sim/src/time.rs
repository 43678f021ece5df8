//! The world's time, and the clocks of its hosts.
//!
//! Each host has its own paused runtime; all show the same time, but for hosts that are paused, which find out when they
//! go on.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, Sleep, sleep_until};
use wherry_base::Clock;

/// The world's moment 0, as people write it: 2026-01-01.
const BEGINNING: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The clock of a host since its last start. Moments are counted from the world's beginning.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    base: Instant,
    world: Duration,
    skew: SignedDuration,
}

impl Times {
    /// Within the runtime of a host that starts at a moment of the world, with a wall clock that is wrong by `skew`.
    pub fn starting(world: Duration, skew: SignedDuration) -> Self {
        Self { base: Instant::now(), world, skew }
    }

    /// The present moment.
    pub fn now(&self) -> Duration {
        self.world + self.base.elapsed()
    }

    /// Waits for a moment of the world.
    pub fn until(&self, moment: Duration) -> Sleep {
        sleep_until(self.base + moment.saturating_sub(self.world))
    }

    /// The host's wall clock.
    pub fn clock(self) -> Arc<dyn Clock> {
        Arc::new(self)
    }
}

impl Clock for Times {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(Self::now(self)).unwrap_or(SignedDuration::MAX);
        BEGINNING.checked_add(passed + self.skew).unwrap_or(BEGINNING)
    }
}
