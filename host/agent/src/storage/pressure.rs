//! The node's condition `DiskPressure`: there at once when the disk is almost full, and over when it has not been for a
//! while, so that pods which fill the disk do not come and go with it. Not kept over the end of the process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long the disk must have had room: the default of a kubelet's `eviction-pressure-transition-period`.
const TRANSITION: Duration = Duration::from_secs(5 * 60);

/// Whether new pods are kept away.
#[derive(Default)]
pub(super) struct Pressure {
    is_on: watch::Sender<bool>,
    /// When the disk was almost full the last time.
    last: Mutex<Option<Instant>>,
}

impl Pressure {
    /// The disk is, or is not, almost full.
    pub(super) fn observe(&self, is_full: bool, now: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full {
            *last = Some(now);
        }
        let is_on = last.is_some_and(|last| now.saturating_duration_since(last) < TRANSITION);
        self.is_on.send_if_modified(|before| std::mem::replace(before, is_on) != is_on);
    }

    /// Follows it.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.is_on.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_at_once_and_over_after_a_while() {
        let (pressure, start) = (Pressure::default(), Instant::now());
        let told = pressure.subscribe();
        let observe = |seconds, is_full| {
            pressure.observe(is_full, start + Duration::from_secs(seconds));
            *told.borrow()
        };
        assert!(!observe(0, false));
        assert!(observe(1, true) && observe(2, false) && observe(100, true) && observe(399, false));
        assert!(!observe(400, false));
        assert!(observe(401, true));
    }
}
