//! Which pods use which ConfigMaps and Secrets in their volumes, so that a change reaches the files at once.
//!
//! Each object is followed by its name as long as a pod uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use k8s_openapi::api::core::v1::PodSpec;
use wherry_api::kinds::{ConfigMap, Secret};
use wherry_api::{Kind, ObjectKey};
use wherry_base::Drain;
use wherry_client::{Client, Followed};

use crate::worker::Worker;

/// The pods by what they use.
pub struct References {
    config_maps: Users<ConfigMap>,
    secrets: Users<Secret>,
}

/// The pods that use objects of one kind.
struct Users<K> {
    pods: Arc<Mutex<Pods>>,
    followed: Followed<K>,
}

type Pods = HashMap<ObjectKey, Vec<Weak<Worker>>>;

impl References {
    /// Nobody uses anything yet.
    pub fn new(client: &Client, drain: &Drain) -> Self {
        Self { config_maps: Users::new(client, drain), secrets: Users::new(client, drain) }
    }

    /// From now on, `worker` is told of changes of what it names.
    pub fn add(&self, worker: &Arc<Worker>, names: &wherry_api::References) {
        self.config_maps.add(worker, names.config_maps.iter());
        self.secrets.add(worker, names.secrets.iter());
    }

    /// The pod of that worker uses nothing any more.
    pub fn remove(&self, worker: &Worker, spec: &PodSpec) {
        let names = wherry_api::References::of_pod(spec);
        self.config_maps.remove(worker, names.config_maps.iter());
        self.secrets.remove(worker, names.secrets.iter());
    }
}

impl<K: Kind> Users<K> {
    fn new(client: &Client, drain: &Drain) -> Self {
        let pods: Arc<Mutex<Pods>> = Arc::default();
        let known = Arc::clone(&pods);
        let followed = Followed::new(client.clone(), drain, move |key, object: Option<K>| {
            let users: Vec<_> = lock(&known).get(key).into_iter().flatten().filter_map(Weak::upgrade).collect();
            // Files stay as they are where what they were made of is gone.
            users.into_iter().filter(|_| object.is_some()).for_each(Worker::refresh);
        });
        Self { pods, followed }
    }

    fn add<'a>(&self, worker: &Arc<Worker>, names: impl Iterator<Item = &'a String>) {
        let mut pods = lock(&self.pods);
        for key in names.map(|name| ObjectKey::new(&worker.pod.namespace, name)) {
            self.followed.follow(&key);
            let users = pods.entry(key).or_default();
            users.retain(|pod| !std::ptr::eq(pod.as_ptr(), Arc::as_ptr(worker)));
            users.push(Arc::downgrade(worker));
        }
    }

    fn remove<'a>(&self, worker: &Worker, names: impl Iterator<Item = &'a String>) {
        let mut is_unused = false;
        let mut pods = lock(&self.pods);
        for key in names.map(|name| ObjectKey::new(&worker.pod.namespace, name)) {
            let Some(users) = pods.get_mut(&key) else { continue };
            users.retain(|pod| !std::ptr::eq(pod.as_ptr(), worker));
            if users.is_empty() {
                pods.remove(&key);
                is_unused = true;
            }
        }
        if is_unused {
            self.followed.retain(|key| pods.contains_key(key));
        }
    }
}

fn lock(pods: &Mutex<Pods>) -> std::sync::MutexGuard<'_, Pods> {
    pods.lock().unwrap_or_else(PoisonError::into_inner)
}
