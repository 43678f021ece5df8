//! The disk: pods that take more of it than they may are evicted, and the largest one when it is almost full.
//!
//! Usage is measured now and then (`cadence`), so a fast writer gets past its limit by what it writes meanwhile. Owns one
//! task. A pod takes what its folder and its logs do, whoever wrote it there; what a hostPath leads to is the machine's owner's.

mod cadence;
mod pressure;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::sync::watch;
use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_api::quantity;

use crate::context::Context;
use crate::pod::Event;
use crate::volumes::{self, used_bytes};
use crate::worker::Worker;
pub use cadence::Disk;
use cadence::{Cadence, GLANCE, INTERVAL};
use pressure::Pressure;

/// To evict a pod that takes less than this does not help a full disk.
const EVICTED_BYTES_LEAST: u64 = 16 << 20;

/// What is known of the disk.
#[derive(Default)]
pub struct Storage {
    /// What pods may take that may take only so much, by uid.
    quotas: Mutex<HashMap<String, Arc<Quotas>>>,
    pressure: Pressure,
}

/// What a pod may take of the disk.
#[derive(Debug, Default)]
pub struct Quotas {
    /// The limits of its emptyDir volumes, by their names.
    volumes: BTreeMap<String, Quantity>,
    /// The sum of its containers' limits of `ephemeral-storage`, where they have any.
    total_bytes: Option<u64>,
}

/// What a pod takes, as far as it was measured.
#[derive(Debug, Default)]
struct Usage {
    volumes: BTreeMap<String, u64>,
    total: u64,
}

impl Storage {
    /// Watches a pod, if it may take only so much.
    pub fn watch(&self, uid: &str, pod: &Pod) {
        let quotas = Quotas::of(pod);
        if quotas.any() {
            self.lock().insert(uid.to_owned(), Arc::new(quotas));
        }
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Whether new pods are to stay away because the disk is almost full, or was a moment ago.
    pub fn pressure(&self) -> watch::Receiver<bool> {
        self.pressure.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Quotas>>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps measuring, until the drain of the context.
pub fn spawn(context: Arc<Context>) {
    context.drain.clone().vital().spawn(async move {
        let mut cadence = Cadence::new(Instant::now());
        loop {
            let is_any_limited = !context.storage.lock().is_empty();
            tokio::time::sleep(if is_any_limited { GLANCE } else { INTERVAL }).await;
            let (disk, began) = (Disk::of(&context.config.data_dir), Instant::now());
            if cadence.is_due(disk, began) {
                let own = Arc::clone(&context);
                let _ended = wherry_base::spawn_blocking(move || own.check_storage(disk, began)).await;
                cadence.measured(disk, began, Instant::now());
            }
        }
    });
}

impl Context {
    /// Measures those that may take only so much, all where the disk is almost full, and evicts who must go.
    fn check_storage(&self, disk: Disk, now: Instant) {
        let is_full = disk.is_almost_full();
        // Before anything is evicted: what replaces it must not come here.
        self.storage.pressure.observe(is_full, now);
        if is_full {
            // What a sandbox has written beside its pods' folders is nobody's.
            volumes::remove_orphans(&self.pods_folder(), |uid| self.pods().contains_key(uid));
        }
        let measured: Vec<_> = self
            .candidates(is_full)
            .map(|(worker, quotas)| {
                let usage = self.usage(&worker, &quotas, is_full);
                (worker, quotas, usage)
            })
            .collect();
        let mut evicted = false;
        for (worker, quotas, usage) in &measured {
            if let Some(message) = quotas.exceeded(usage) {
                worker.feed(Event::Evict { message });
                evicted = true;
            }
        }
        let largest = measured.iter().max_by_key(|(_, _, usage)| usage.total);
        if let Some((worker, _, usage)) = largest.filter(|_| is_full && !evicted)
            && usage.total >= EVICTED_BYTES_LEAST
        {
            worker.feed(Event::Evict { message: "The node was low on resource: ephemeral-storage. ".to_owned() });
        }
    }

    /// The pods that run: all of them, or those that may take only so much.
    fn candidates(&self, all: bool) -> impl Iterator<Item = (Arc<Worker>, Arc<Quotas>)> {
        let limited = self.storage.lock().clone();
        let workers = if all {
            self.all()
        } else {
            let pods = self.pods();
            limited.keys().filter_map(|uid| pods.get(uid).cloned()).collect()
        };
        let running = workers.into_iter().filter(|worker| worker.inspect(|state| !state.is_ending()));
        running.map(move |worker| {
            let quotas = limited.get(&worker.pod.uid).cloned().unwrap_or_default();
            (worker, quotas)
        })
    }

    /// The volumes with limits; the whole pod where it is asked for, or has a limit. What cannot be measured is no less
    /// than what may be.
    fn usage(&self, worker: &Worker, quotas: &Quotas, whole: bool) -> Usage {
        let used = |folder: &Path| used_bytes(folder).unwrap_or(u64::MAX);
        let folder = self.volumes_folder(&worker.pod);
        let volumes = quotas.volumes.keys().map(|name| (name.clone(), used(&folder.join(name)))).collect();
        let total = || used(&self.pod_folder(&worker.pod)).saturating_add(used(&self.logs.folder(&worker.pod)));
        Usage { volumes, total: if whole || quotas.total_bytes.is_some() { total() } else { 0 } }
    }
}

impl Quotas {
    fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let dirs = spec.volumes.iter().flatten().filter_map(|volume| Some((&volume.name, volume.empty_dir.as_ref()?)));
        let limited = |limit: &Quantity| quantity::units(limit).is_ok_and(|bytes| bytes > 0);
        let volumes = dirs.filter_map(|(name, dir)| Some((name.clone(), dir.size_limit.clone().filter(limited)?)));
        let limits = spec.containers.iter().filter_map(|container| {
            let limit = container.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage")?;
            u64::try_from(quantity::units(limit).ok()?).ok()
        });
        Self { volumes: volumes.collect(), total_bytes: limits.reduce(u64::saturating_add) }
    }

    fn any(&self) -> bool {
        self.total_bytes.is_some() || !self.volumes.is_empty()
    }

    /// Which limit is exceeded, in a kubelet's words.
    fn exceeded(&self, usage: &Usage) -> Option<String> {
        let over = |name: &String, limit: &Quantity| {
            let bytes = u64::try_from(quantity::units(limit).ok()?).ok()?;
            (usage.volumes.get(name).is_some_and(|used| *used > bytes))
                .then(|| format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{}\". ", limit.0))
        };
        let volume = self.volumes.iter().find_map(|(name, limit)| over(name, limit));
        volume.or_else(|| {
            let limit = self.total_bytes.filter(|limit| usage.total > *limit)?;
            Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quotas(volumes: &serde_json::Value, limits: &[&str]) -> Quotas {
        let container = |limit: &&str| json!({"name": "c", "resources": {"limits": {"ephemeral-storage": limit}}});
        let containers: Vec<_> = limits.iter().map(container).collect();
        let pod = json!({"metadata": {}, "spec": {"containers": containers, "volumes": volumes}});
        Quotas::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn limits_are_of_volumes_and_of_the_pod() {
        let volumes = json!([
            {"name": "small", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "free", "emptyDir": {}},
            {"name": "map", "configMap": {"name": "m"}},
        ]);
        let check = |limits: &[&str], small: u64, total: u64, expected: Option<&str>| {
            let usage = Usage { volumes: [("small".to_owned(), small)].into(), total };
            assert_eq!(quotas(&volumes, limits).exceeded(&usage).as_deref(), expected);
        };
        let small = Some("Usage of EmptyDir volume \"small\" exceeds the limit \"1Mi\". ");
        check(&[], 1 << 20, u64::MAX, None);
        check(&[], (1 << 20) + 1, 0, small);
        check(&["1Mi"], u64::MAX, 0, small);
        check(&["1Mi", "1Mi"], 1 << 20, 2 << 20, None);
        let pod = Some("Pod ephemeral local storage usage exceeds the total limit of containers 2097152. ");
        check(&["1Mi", "1Mi"], 1 << 20, (2 << 20) + 1, pod);
        assert!(quotas(&volumes, &[]).any() && quotas(&json!([{"name": "x", "emptyDir": {}}]), &["1"]).any());
        assert!(!quotas(&json!([{"name": "x", "emptyDir": {}}]), &[]).any());
    }
}
