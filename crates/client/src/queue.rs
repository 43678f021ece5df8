//! A queue of keys to look at: each at most once, later if asked, with back-off after failures.
//!
//! Follows client-go's `workqueue`: a key that is added while it is being worked on comes again afterwards.

use std::hash::Hash;
use std::time::Duration;

/// A queue shared by those who add keys and the workers that take them.
pub struct WorkQueue<Key> {
    key: std::marker::PhantomData<Key>,
}

impl<Key: Clone + Eq + Hash + Send + 'static> WorkQueue<Key> {
    /// An empty queue whose failed keys wait from `first` to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        let _ = (first, most);
        Self { key: std::marker::PhantomData }
    }

    /// Adds a key, to be taken as soon as a worker is free.
    pub fn add(&self, key: Key) {
        let _ = key;
    }

    /// Adds a key once `delay` is over; the sooner of two such requests counts.
    pub fn add_after(&self, key: Key, delay: Duration) {
        let _ = (key, delay);
    }

    /// Takes a key; the worker must say `done` or `failed` of it.
    pub async fn take(&self) -> Key {
        std::future::pending().await
    }

    /// The key's work is done: its failures are forgotten.
    pub fn done(&self, key: &Key) {
        let _ = key;
    }

    /// The key's work failed: it comes again after its back-off.
    pub fn failed(&self, key: &Key) {
        let _ = key;
    }
}
