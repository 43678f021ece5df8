//! Expectations: what a key's last plan changed and the informers do not show yet.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use wherry_api::kinds::ObjectMeta;
use wherry_api::{ObjectKey, Resource};

use super::EXPECTATION_MOST;
use crate::world::View;

/// A change that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) resource: &'static Resource,
    pub(crate) key: ObjectKey,
    pub(crate) outcome: Outcome,
}

/// How the informers show it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The object is there, at this revision or a later one.
    Shown(u64),
    /// The object of this uid is gone, or going.
    Gone(String),
}

/// What is awaited, by the key that asked for it.
pub(crate) struct Expectations<Key> {
    awaited: Mutex<HashMap<Key, (Instant, Vec<Done>)>>,
}

impl<Key> Default for Expectations<Key> {
    fn default() -> Self {
        Self { awaited: Mutex::default() }
    }
}

impl<Key: Clone + Eq + Hash> Expectations<Key> {
    /// Awaits these changes before the key is looked at again.
    pub(crate) fn expect(&self, key: &Key, done: Vec<Done>) {
        if !done.is_empty() {
            self.lock().insert(key.clone(), (Instant::now() + EXPECTATION_MOST, done));
        }
    }

    /// Whether the view shows what was awaited, or the time for it is over.
    pub(crate) fn are_met(&self, key: &Key, view: &View) -> bool {
        let mut awaited = self.lock();
        let Some((due, rest)) = awaited.get_mut(key) else { return true };
        rest.retain(|done| !done.is_shown(view.meta(done.resource, &done.key)));
        let is_met = rest.is_empty() || *due <= Instant::now();
        if is_met {
            awaited.remove(key);
        }
        is_met
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Instant, Vec<Done>)>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Done {
    fn is_shown(&self, meta: Option<&ObjectMeta>) -> bool {
        match (&self.outcome, meta) {
            (Outcome::Shown(revision), Some(meta)) => revision_of(meta) >= *revision,
            (Outcome::Shown(_), None) => false,
            (Outcome::Gone(_), None) => true,
            (Outcome::Gone(uid), Some(meta)) => meta.uid.as_ref() != Some(uid) || meta.deletion_timestamp.is_some(),
        }
    }
}

/// The revision of an object; 0 where it has none.
pub(crate) fn revision_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}
