//! Rests: a key whose decision took long is not looked at again at once; what changes meanwhile waits for one look.
//!
//! The rest grows with the decision, so a small object never waits, and a large one takes a bounded share of a core.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A rest is this many times the decision.
const REST_FACTOR: u32 = 8;
/// Decisions shorter than this need no rest.
const DECISION_SHORT: Duration = Duration::from_micros(500);
const REST_MOST: Duration = Duration::from_millis(250);

pub(super) struct Rests<Key>(Mutex<HashMap<Key, Instant>>);

impl<Key> Default for Rests<Key> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Key: Clone + Eq + Hash> Rests<Key> {
    /// How long the key rests still.
    pub(super) fn left(&self, key: &Key) -> Option<Duration> {
        let mut rests = self.lock();
        let left = rests.get(key)?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            rests.remove(key);
        }
        Some(left).filter(|left| !left.is_zero())
    }

    /// Lets the key rest after a decision, according to how long it took, `least` at the least.
    pub(super) fn during<T>(&self, key: &Key, least: Duration, decide: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let decided = decide();
        let took = began.elapsed();
        let rest = if took < DECISION_SHORT { least } else { (took * REST_FACTOR).min(REST_MOST).max(least) };
        if !rest.is_zero() {
            self.lock().insert(key.clone(), began + took + rest);
        }
        decided
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_rests_as_long_as_is_asked_and_no_longer() {
        let rests = Rests::default();
        assert_eq!(rests.during(&"a", Duration::ZERO, || 7), 7);
        assert_eq!(rests.left(&"a"), None, "a short decision needs no rest");
        rests.during(&"a", Duration::from_secs(20), || ());
        assert!(rests.left(&"a").is_some() && rests.left(&"b").is_none());
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!(rests.left(&"a"), None);
    }
}
