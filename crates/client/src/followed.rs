//! Single objects, followed by name: all that a node may do with ConfigMaps and Secrets, which it may not list
//! (Kubernetes' Node authorizer).
//!
//! One task an object looks at it and then watches it. A watch takes one of the streams of the one connection, so there are
//! `WATCHES_MAX` of them; objects beyond that are looked at each minute, as a kubelet's cache does. Keeps no objects: what
//! is seen is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wherry_api::{Error, Kind, ObjectKey};
use wherry_base::{Backoff, Drain};

use crate::api::{Client, Event};
use crate::transport::{ListOptions, WatchOptions};

/// How many objects of a kind are watched at once: three such kinds leave most of the 100 streams that Kubernetes' API
/// server gives a connection.
const WATCHES_MAX: usize = 24;
/// How often an object is looked at that is not watched.
const LOOK_PERIOD: Duration = Duration::from_secs(60);
/// The first and the longest wait before a watch that ended is opened again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), LOOK_PERIOD);

/// Hears of an object as it is, and with `None` that there is none.
type Tell<K> = dyn Fn(&ObjectKey, Option<K>) + Send + Sync;

/// Objects of one kind that are followed, until the drain.
pub struct Followed<K> {
    shared: Arc<Shared<K>>,
    drain: Drain,
    /// By object, what ends its task.
    followed: Mutex<HashMap<ObjectKey, CancellationToken>>,
}

struct Shared<K> {
    client: Client,
    /// What the objects must be besides, as a field selector; empty for nothing.
    fields: String,
    tell: Box<Tell<K>>,
    watches: Semaphore,
}

impl<K: Kind> Followed<K> {
    /// Follows nothing yet. `tell` is called with each state that is seen, the first one included.
    pub fn new(client: Client, drain: &Drain, tell: impl Fn(&ObjectKey, Option<K>) + Send + Sync + 'static) -> Self {
        Self::only(String::new(), client, drain, tell)
    }

    /// The same, of objects that a field selector lets through: others are as if they were not there.
    pub fn only(
        fields: String,
        client: Client,
        drain: &Drain,
        tell: impl Fn(&ObjectKey, Option<K>) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { client, fields, tell: Box::new(tell), watches: Semaphore::new(WATCHES_MAX) });
        Self { shared, drain: drain.clone(), followed: Mutex::default() }
    }

    /// Follows an object from now on, whether there is one or not; nothing new for one that is followed already.
    pub fn follow(&self, key: &ObjectKey) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.contains_key(key) {
            return;
        }
        let token = CancellationToken::new();
        followed.insert(key.clone(), token.clone());
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        self.drain.vital().spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = shared.keep(&key) => {}
            }
        });
    }

    /// Follows only these any more.
    pub fn retain(&self, keep: impl Fn(&ObjectKey) -> bool) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, token) in followed.extract_if(|key, _| !keep(key)) {
            token.cancel();
        }
    }
}

impl<K: Kind> Shared<K> {
    async fn keep(&self, key: &ObjectKey) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            if let Err(error) = self.look(key, &mut backoff).await {
                tracing::debug!(resource = K::resource().plural, %key, %error, "an object is not followed for now");
            }
            tokio::time::sleep(backoff.fail()).await;
        }
    }

    /// Looks at an object, and watches it until the watch breaks; where there are too many watches, a while.
    async fn look(&self, key: &ObjectKey, backoff: &mut Backoff) -> Result<(), Error> {
        let api = self.client.namespaced::<K>(&key.namespace);
        let mut fields = format!("metadata.name={}", key.name);
        if !self.fields.is_empty() {
            fields.push(',');
            fields.push_str(&self.fields);
        }
        let seen = api.list(ListOptions { fields: fields.clone(), ..ListOptions::default() }).await?;
        (self.tell)(key, seen.items.into_iter().next());
        let Ok(_place) = self.watches.try_acquire() else {
            backoff.reset();
            tokio::time::sleep(LOOK_PERIOD).await;
            return Ok(());
        };
        let from = WatchOptions { fields, resource_version: seen.resource_version, ..WatchOptions::default() };
        let mut events = api.watch(from).await?;
        while let Some(event) = events.next().await {
            match event? {
                Event::Applied(object) => (self.tell)(key, Some(object)),
                Event::Deleted(_) => (self.tell)(key, None),
                Event::Bookmark(_) => {}
            }
            backoff.reset();
        }
        Ok(())
    }
}
