//! Which pods use which ConfigMaps and Secrets in their volumes, so that a change reaches the files at once.
//!
//! One watch a kind, opened when the first pod uses one. A node that may not watch them (the node authorizer of another
//! Kubernetes) goes without: its pods see the change when they start anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;
use wherry_api::kinds::{ConfigMap, ObjectMeta, Secret};
use wherry_api::well_known::NO_BOOTSTRAP_TOKENS;
use wherry_api::{Error, Kind, ObjectKey, Resource};
use wherry_base::{Backoff, Drain};
use wherry_client::{Client, EventKind, WatchOptions};

use crate::objects::Names;
use crate::worker::Worker;

/// The first and the longest wait before a watch that ended is opened again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pods by what they use.
#[derive(Default)]
pub struct References {
    config_maps: Mutex<Users>,
    secrets: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    watched: bool,
    pods: HashMap<ObjectKey, Vec<Weak<Worker>>>,
}

#[derive(Deserialize)]
struct Peek {
    metadata: ObjectMeta,
}

impl References {
    /// From now on, `worker` is told of changes of what it names.
    pub fn add(self: &Arc<Self>, client: &Client, drain: &Drain, worker: &Arc<Worker>, names: &Names) {
        let namespace = &worker.pod.namespace;
        let add = |users: &Mutex<Users>, names: &mut dyn Iterator<Item = &String>| -> bool {
            let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
            let mut any = false;
            for name in names {
                any = true;
                let pods = users.pods.entry(ObjectKey::new(namespace, name)).or_default();
                pods.retain(|pod| pod.strong_count() > 0 && !std::ptr::eq(pod.as_ptr(), Arc::as_ptr(worker)));
                pods.push(Arc::downgrade(worker));
            }
            let open = any && !users.watched;
            users.watched |= any;
            open
        };
        if add(&self.config_maps, &mut names.config_maps.iter()) {
            self.clone().spawn(client.clone(), ConfigMap::resource(), drain);
        }
        if add(&self.secrets, &mut names.secrets.iter()) {
            self.clone().spawn(client.clone(), Secret::resource(), drain);
        }
    }

    fn spawn(self: Arc<Self>, client: Client, resource: &'static Resource, drain: &Drain) {
        drain.spawn(async move {
            let mut backoff = Backoff::new(RETRY.0, RETRY.1);
            loop {
                if let Err(error) = self.follow(&client, resource, &mut backoff).await {
                    tracing::debug!(%resource.plural, %error, "the watch for volumes ended");
                }
                tokio::time::sleep(backoff.fail()).await;
                // What changed meanwhile was missed.
                self.users(resource).into_iter().for_each(|worker| worker.refresh());
            }
        });
    }

    async fn follow(&self, client: &Client, resource: &'static Resource, backoff: &mut Backoff) -> Result<(), Error> {
        let fields = if resource.plural == Secret::resource().plural { NO_BOOTSTRAP_TOKENS } else { "" };
        let options = WatchOptions { fields: fields.to_owned(), ..WatchOptions::default() };
        let mut events = client.transport().watch(resource, None, options).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            backoff.reset();
            if matches!(event.kind, EventKind::Added | EventKind::Modified)
                && let Ok(Peek { metadata }) = serde_json::from_slice(&event.object)
            {
                let text = |text: Option<String>| text.unwrap_or_default();
                let key = ObjectKey::new(&text(metadata.namespace), &text(metadata.name));
                self.users_of(resource, &key).into_iter().for_each(|worker| worker.refresh());
            }
        }
        Ok(())
    }

    fn of(&self, resource: &Resource) -> &Mutex<Users> {
        if resource.plural == ConfigMap::resource().plural { &self.config_maps } else { &self.secrets }
    }

    fn users_of(&self, resource: &Resource, key: &ObjectKey) -> Vec<Arc<Worker>> {
        let users = self.of(resource).lock().unwrap_or_else(PoisonError::into_inner);
        users.pods.get(key).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// All users; those that are gone are forgotten.
    fn users(&self, resource: &Resource) -> Vec<Arc<Worker>> {
        let mut users = self.of(resource).lock().unwrap_or_else(PoisonError::into_inner);
        users.pods.retain(|_, pods| {
            pods.retain(|pod| pod.strong_count() > 0);
            !pods.is_empty()
        });
        users.pods.values().flatten().filter_map(Weak::upgrade).collect()
    }
}
