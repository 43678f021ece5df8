//! The TLS Secrets that the served ingresses name: each is followed by its name and type, for a node may read no others.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wherry_api::ObjectKey;
use wherry_api::kinds::Secret;
use wherry_api::well_known::TLS_SECRET;
use wherry_base::Drain;
use wherry_client::{Client, Followed, Projection};

use crate::ingress::facts::{IngressFacts, TlsSecret};

/// What is known of them.
pub(super) struct TlsSecrets {
    known: Arc<Known>,
    followed: Followed<Secret>,
}

#[derive(Default)]
struct Known {
    /// By name; nothing of one that was not looked at yet, `None` where there is none.
    secrets: Mutex<HashMap<ObjectKey, Option<TlsSecret>>>,
    changed: Notify,
}

impl TlsSecrets {
    pub(super) fn new(client: Client, drain: &Drain) -> Self {
        let known = Arc::<Known>::default();
        let told = Arc::clone(&known);
        let followed =
            Followed::only(format!("type={TLS_SECRET}"), client, drain, move |key, secret: Option<Secret>| {
                told.lock().insert(key.clone(), secret.map(TlsSecret::project));
                told.changed.notify_one();
            });
        Self { known, followed }
    }

    /// Follows those that these ingresses name, and no others any more; how many they are.
    pub(super) fn follow(&self, ingresses: &[(ObjectKey, IngressFacts)]) -> usize {
        let named: HashSet<&ObjectKey> =
            ingresses.iter().flat_map(|(_, ingress)| &ingress.tls).map(|tls| &tls.secret).collect();
        self.followed.retain(|key| named.contains(key));
        self.known.lock().retain(|key, _| named.contains(key));
        named.iter().for_each(|key| self.followed.follow(key));
        named.len()
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<TlsSecret> {
        self.known.lock().get(key).cloned().flatten()
    }

    /// Resolves when one has changed since this was last awaited.
    pub(super) async fn changed(&self) {
        self.known.changed.notified().await;
    }

    /// Resolves when so many were looked at.
    pub(super) async fn seen(&self, count: usize) {
        while self.known.lock().len() < count {
            self.changed().await;
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Option<TlsSecret>>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
