//! The disk: pods that take more of it than they may are evicted, and the largest one when it is almost full.
//!
//! Usage is measured now and then, so a fast writer gets past its limit by what it writes meanwhile. Owns one task.
//! A pod takes what its folder and its logs do, whoever wrote it there; what a hostPath leads to is the machine's owner's.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_api::quantity;

use crate::context::Context;
use crate::pod::Event;
use crate::volumes::{self, used_bytes};
use crate::worker::Worker;

/// How often usage is measured at most, and how much longer than a measurement the pause after it is.
const INTERVAL: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: u32 = 50;
/// The disk is almost full when less than one part in so many is free, and less than so much.
const FREE_PARTS: u64 = 20;
const FREE_BYTES: u64 = 1 << 30;
/// To evict a pod that takes less than this does not help a full disk.
const EVICTED_BYTES_LEAST: u64 = 16 << 20;

/// The pods that are watched, by uid.
#[derive(Default)]
pub struct Storage(Mutex<HashMap<String, Arc<Watched>>>);

struct Watched {
    worker: Weak<Worker>,
    folders: Folders,
    quotas: Quotas,
}

/// Where a pod's files are.
pub struct Folders {
    /// All of them but the logs.
    pub pod: PathBuf,
    /// The volumes, each below its name.
    pub volumes: PathBuf,
    /// The logs.
    pub logs: PathBuf,
}

/// What a pod may take of the disk.
#[derive(Debug, Default)]
struct Quotas {
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
    /// Watches a pod for as long as it runs.
    pub fn watch(&self, worker: &Arc<Worker>, pod: &Pod, folders: Folders) {
        let watched = Watched { worker: Arc::downgrade(worker), folders, quotas: Quotas::of(pod) };
        self.lock().insert(worker.pod.uid.clone(), Arc::new(watched));
    }

    /// The pods that are still there.
    fn watched(&self) -> Vec<Arc<Watched>> {
        let mut all = self.lock();
        let runs = |watched: &Arc<Watched>| {
            watched.worker.upgrade().is_some_and(|worker| worker.inspect(|state| !state.is_ending()))
        };
        all.retain(|_, watched| runs(watched));
        all.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Watched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps measuring, until the drain of the context.
pub fn spawn(context: Arc<Context>) {
    context.drain.clone().spawn(async move {
        let mut pause = INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            let own = Arc::clone(&context);
            let _ended = tokio::task::spawn_blocking(move || own.check_storage()).await;
            pause = INTERVAL.max(began.elapsed() * PAUSE_FACTOR);
        }
    });
}

impl Context {
    /// Measures those that may take only so much, all where the disk is almost full, and evicts who must go.
    fn check_storage(&self) {
        let disk = rustix::fs::statvfs(&self.config.data_dir);
        let is_full =
            disk.is_ok_and(|disk| is_almost_full(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize));
        if is_full {
            // What a sandbox has written beside its pods' folders is nobody's.
            volumes::remove_orphans(&self.pods_folder(), |uid| self.pods().contains_key(uid));
        }
        let watched = self.storage.watched();
        let limited = watched.into_iter().filter(|watched| is_full || watched.quotas.any());
        let measured: Vec<_> = limited.map(|watched| (watched.usage(is_full), watched)).collect();
        let mut evicted = false;
        for (usage, watched) in &measured {
            if let Some(message) = watched.quotas.exceeded(usage) {
                watched.evict(message);
                evicted = true;
            }
        }
        let largest = measured.iter().max_by_key(|(usage, _)| usage.total);
        if let Some((usage, watched)) = largest.filter(|_| is_full && !evicted)
            && usage.total >= EVICTED_BYTES_LEAST
        {
            watched.evict("The node was low on resource: ephemeral-storage. ".to_owned());
        }
    }
}

impl Watched {
    /// The volumes with limits; the whole pod where it is asked for, or has a limit. What cannot be measured is no less
    /// than what may be.
    fn usage(&self, whole: bool) -> Usage {
        let used = |folder: &Path| used_bytes(folder).unwrap_or(u64::MAX);
        let of_volume = |name: &String| (name.clone(), used(&self.folders.volumes.join(name)));
        let whole = whole || self.quotas.total_bytes.is_some();
        let total = || used(&self.folders.pod).saturating_add(used(&self.folders.logs));
        let volumes = self.quotas.volumes.keys().map(of_volume).collect();
        Usage { volumes, total: if whole { total() } else { 0 } }
    }

    fn evict(&self, message: String) {
        if let Some(worker) = self.worker.upgrade() {
            worker.feed(Event::Evict { message });
        }
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

fn is_almost_full(free: u64, all: u64) -> bool {
    free < FREE_BYTES && free < all / FREE_PARTS
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

    #[test]
    fn a_disk_is_full_when_little_is_left() {
        assert!(!is_almost_full(2 << 30, 1 << 40));
        assert!(is_almost_full(1 << 29, 1 << 40));
        assert!(!is_almost_full(1 << 29, 4 << 30));
    }
}
