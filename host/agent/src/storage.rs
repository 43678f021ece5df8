//! The disk: pods whose volumes take more than they may are evicted, and the largest one when the disk is almost full.
//!
//! Usage is measured now and then, so a fast writer gets past its limit by what it writes meanwhile. Owns one task.
//! Knows emptyDir volumes only: logs are bounded by themselves, and what a hostPath leads to is the machine's owner's.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_api::quantity;

use crate::context::Context;
use crate::pod::Event;
use crate::volumes::used_bytes;
use crate::worker::Worker;

/// How often usage is measured at most, and how much longer than a measurement the pause after it is.
const INTERVAL: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: u32 = 50;
/// The disk is almost full when less than one part in so many is free, and less than so much.
const FREE_PARTS: u64 = 20;
const FREE_BYTES: u64 = 1 << 30;
/// To evict a pod that takes less than this does not help a full disk.
const EVICTED_BYTES_LEAST: u64 = 16 << 20;

/// The pods whose volumes are watched, by uid.
#[derive(Default)]
pub struct Storage(Mutex<HashMap<String, Arc<Watched>>>);

struct Watched {
    worker: Weak<Worker>,
    folder: PathBuf,
    quotas: Quotas,
}

/// What a pod may take of the disk.
#[derive(Debug, Default)]
struct Quotas {
    /// Its emptyDir volumes by name, those of them with a limit.
    volumes: BTreeMap<String, Option<Quantity>>,
    /// The sum of its containers' limits of `ephemeral-storage`, where they have any.
    total_bytes: Option<u64>,
}

/// What a pod's emptyDir volumes take, by name.
type Usage = BTreeMap<String, u64>;

impl Storage {
    /// Watches a pod, if it has an emptyDir volume.
    pub fn watch(&self, worker: &Arc<Worker>, pod: &Pod, folder: PathBuf) {
        let quotas = Quotas::of(pod);
        if !quotas.volumes.is_empty() {
            let watched = Watched { worker: Arc::downgrade(worker), folder, quotas };
            self.lock().insert(worker.pod.uid.clone(), Arc::new(watched));
        }
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
            let (watched, disk) = (context.storage.watched(), context.config.data_dir.clone());
            let is_full = rustix::fs::statvfs(&disk)
                .is_ok_and(|disk| is_almost_full(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize));
            let measured = tokio::task::spawn_blocking(move || measure(watched, is_full)).await;
            evict(measured.unwrap_or_default(), is_full);
            pause = INTERVAL.max(began.elapsed() * PAUSE_FACTOR);
        }
    });
}

/// Those that may take only so much; all of them where the disk is full.
fn measure(watched: Vec<Arc<Watched>>, all: bool) -> Vec<(Arc<Watched>, Usage)> {
    let of_volume = |folder: &PathBuf, name: &String| {
        // What cannot be measured is no less than what may be.
        (name.clone(), used_bytes(&folder.join(name)).unwrap_or(u64::MAX))
    };
    let measured = watched.into_iter().filter(|watched| all || watched.quotas.any()).map(|watched| {
        let usage = watched.quotas.volumes.keys().map(|name| of_volume(&watched.folder, name)).collect();
        (watched, usage)
    });
    measured.collect()
}

fn evict(measured: Vec<(Arc<Watched>, Usage)>, is_full: bool) {
    let mut evicted = false;
    for (watched, usage) in &measured {
        if let Some(message) = watched.quotas.exceeded(usage) {
            watched.evict(message);
            evicted = true;
        }
    }
    let largest = measured.iter().max_by_key(|(_, usage)| total(usage));
    if let Some((watched, usage)) = largest.filter(|_| is_full && !evicted)
        && total(usage) >= EVICTED_BYTES_LEAST
    {
        watched.evict("The node was low on resource: ephemeral-storage. ".to_owned());
    }
}

impl Watched {
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
        let volumes = dirs.map(|(name, dir)| (name.clone(), dir.size_limit.clone().filter(limited)));
        let limits = spec.containers.iter().filter_map(|container| {
            let limit = container.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage")?;
            u64::try_from(quantity::units(limit).ok()?).ok()
        });
        Self { volumes: volumes.collect(), total_bytes: limits.reduce(u64::saturating_add) }
    }

    fn any(&self) -> bool {
        self.total_bytes.is_some() || self.volumes.values().any(Option::is_some)
    }

    /// Which limit is exceeded, in a kubelet's words.
    fn exceeded(&self, usage: &Usage) -> Option<String> {
        let over = |name: &String, limit: &Quantity| {
            let bytes = u64::try_from(quantity::units(limit).ok()?).ok()?;
            (usage.get(name).is_some_and(|used| *used > bytes))
                .then(|| format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{}\". ", limit.0))
        };
        let volume = self.volumes.iter().find_map(|(name, limit)| over(name, limit.as_ref()?));
        volume.or_else(|| {
            let limit = self.total_bytes.filter(|limit| total(usage) > *limit)?;
            Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "))
        })
    }
}

fn total(usage: &Usage) -> u64 {
    usage.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
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
        let check = |limits: &[&str], small: u64, free: u64, expected: Option<&str>| {
            let usage = [("small".to_owned(), small), ("free".to_owned(), free)].into();
            assert_eq!(quotas(&volumes, limits).exceeded(&usage).as_deref(), expected);
        };
        let small = Some("Usage of EmptyDir volume \"small\" exceeds the limit \"1Mi\". ");
        check(&[], 1 << 20, u64::MAX, None);
        check(&[], (1 << 20) + 1, 0, small);
        check(&["1Mi"], u64::MAX, 0, small);
        check(&["1Mi", "1Mi"], 1 << 20, 1 << 20, None);
        let pod = Some("Pod ephemeral local storage usage exceeds the total limit of containers 2097152. ");
        check(&["1Mi", "1Mi"], 1 << 20, (1 << 20) + 1, pod);
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
