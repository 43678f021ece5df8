//! The images on the node: those that nobody uses go when the disk fills up, as a kubelet has it, and what there is is told in the
//! Node's status. Owns one task.
//!
//! What is known of their use is in memory only: images that were there before this process count as never used. A pod that starts
//! while its image goes fetches it again with its next try.

mod choice;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerImage;
use tokio::sync::watch;
use tokio::time::Instant;
use wherry_runtime::{StoreError, StoredImage};

use crate::context::Context;
use crate::storage::Disk;
use crate::worker::Worker;
pub use choice::ImageGc;
use choice::{Candidate, Use};

/// How often file systems are asked how full they are.
const GLANCE: Duration = Duration::from_secs(10);
/// How often at the least the images are listed, and how often at the most it is told that too few can go: a kubelet's period.
const PERIOD: Duration = Duration::from_secs(300);
/// How many images' use is remembered between two lists; of more nothing is known.
const REMEMBERED_MAX: usize = 16_384;
/// How many images a Node's status names, and by how many names each: a kubelet's limits.
const TOLD_MAX: usize = 50;
const NAMES_TOLD_MAX: usize = 5;

/// What is known of the images.
#[derive(Default)]
pub struct Images {
    /// By digest.
    uses: Mutex<HashMap<String, Use>>,
    /// There is one that the last list did not have.
    is_changed: AtomicBool,
    told: watch::Sender<Vec<ContainerImage>>,
}

/// What a round of collection remembers of those before it.
#[derive(Default)]
struct Rounds {
    listed: Option<Instant>,
    complained: Option<Instant>,
}

impl Images {
    /// A pod needs this image now.
    pub fn used(&self, digest: &str, now: Instant) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = uses.get_mut(digest) {
            known.last = Some(now);
        } else if uses.len() < REMEMBERED_MAX {
            uses.insert(digest.to_owned(), Use { first: Some(now), last: Some(now) });
            self.is_changed.store(true, Ordering::Relaxed);
        }
    }

    /// The images as a Node's status has them, as they change: the largest.
    pub fn told(&self) -> watch::Receiver<Vec<ContainerImage>> {
        self.told.subscribe()
    }

    /// All images were listed; forgets the use of those that are gone. The first list has what was there before.
    fn listed(
        &self,
        all: &[(usize, StoredImage)],
        in_use: &HashSet<String>,
        is_first: bool,
        now: Instant,
    ) -> Vec<Candidate> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().map(|(store, image)| {
            let first = if is_first { None } else { Some(now) };
            let mut used = uses.get(&image.digest).copied().unwrap_or(Use { first, last: None });
            let in_use = in_use.contains(&image.digest);
            if in_use {
                used.last = Some(now);
            }
            Candidate { store: *store, image: image.clone(), used, in_use }
        });
        let found: Vec<_> = found.collect();
        *uses = found.iter().take(REMEMBERED_MAX).map(|one| (one.image.digest.clone(), one.used)).collect();
        found
    }
}

/// Keeps looking, until the drain of the context; not where no images are kept.
pub fn spawn(context: Arc<Context>) {
    if context.runtimes.stores().is_empty() {
        return;
    }
    context.drain.clone().vital().spawn(async move {
        let mut rounds = Rounds::default();
        loop {
            if let Err(error) = context.look_at_images(&mut rounds).await {
                context.complain_of_images(&mut rounds, "ImageGCFailed", error.to_string());
            }
            tokio::time::sleep(GLANCE).await;
        }
    });
}

impl Context {
    async fn look_at_images(&self, rounds: &mut Rounds) -> Result<(), StoreError> {
        let disks = self.image_disks();
        let is_any_full = disks.iter().any(|(disk, _)| self.config.image_gc.excess(*disk) > 0);
        let now = Instant::now();
        let is_old = rounds.listed.is_none_or(|at| now.saturating_duration_since(at) >= PERIOD);
        if !(is_any_full || is_old || self.images.is_changed.load(Ordering::Relaxed)) {
            return Ok(());
        }
        self.images.is_changed.store(false, Ordering::Relaxed);
        let listed = self.list_images().await?;
        let all = self.images.listed(&listed, &self.images_in_use(), rounds.listed.replace(now).is_none(), now);
        let mut gone = HashSet::new();
        for (disk, stores) in disks {
            let excess = self.config.image_gc.excess(disk);
            let here = all.iter().filter(|one| stores.contains(&one.store)).cloned().collect();
            let removed = if excess > 0 { self.collect(here, excess, now).await } else { Vec::new() };
            let freed: u64 = removed.iter().map(|one| one.image.size_bytes).sum();
            if freed < excess {
                let message = format!(
                    "Failed to garbage collect required amount of images. Attempted to free {excess} bytes, but only found {freed} bytes eligible to free."
                );
                self.complain_of_images(rounds, "FreeDiskSpaceFailed", message);
            }
            gone.extend(removed.into_iter().map(|one| one.image.digest));
        }
        let left = listed.into_iter().map(|(_, image)| image).filter(|image| !gone.contains(&image.digest));
        let told = told(left.collect());
        self.images.told.send_if_modified(|before| std::mem::replace(before, told.clone()) != told);
        Ok(())
    }

    /// The file systems that images are on, each with the numbers of its stores.
    fn image_disks(&self) -> Vec<(Disk, Vec<usize>)> {
        let places = self.runtimes.stores().iter().enumerate().filter_map(|(number, store)| {
            let place = store.place()?;
            Some((std::fs::metadata(&place).ok()?.dev(), (place, number)))
        });
        let mut disks: BTreeMap<u64, Vec<(PathBuf, usize)>> = BTreeMap::new();
        for (device, place) in places {
            disks.entry(device).or_default().push(place);
        }
        let of_disk = |places: Vec<(PathBuf, usize)>| {
            let disk = places.first().map(|(place, _)| Disk::of(place))?;
            Some((disk, places.into_iter().map(|(_, number)| number).collect()))
        };
        disks.into_values().filter_map(of_disk).collect()
    }

    /// The images of all stores that are to be had now, each with the number of its store.
    async fn list_images(&self) -> Result<Vec<(usize, StoredImage)>, StoreError> {
        let mut all = Vec::new();
        for (number, store) in self.runtimes.stores().iter().enumerate().filter(|(_, store)| store.place().is_some()) {
            all.extend(store.list().await?.into_iter().map(|image| (number, image)));
        }
        Ok(all)
    }

    /// The digests of the images that pods need which are not over.
    fn images_in_use(&self) -> HashSet<String> {
        let workers = self.all();
        let of_pod = |worker: &Arc<Worker>| {
            worker.inspect(|state| {
                let slots = if state.is_over() { &[][..] } else { &state.slots };
                slots.iter().filter_map(|slot| slot.digest.as_deref().map(str::to_owned)).collect::<Vec<_>>()
            })
        };
        workers.iter().flat_map(of_pod).collect()
    }

    /// Removes images of a file system until so many bytes are free, or no other may go; gives those that went.
    async fn collect(&self, all: Vec<Candidate>, excess: u64, now: Instant) -> Vec<Candidate> {
        let (mut removed, mut freed) = (Vec::new(), 0);
        for one in self.config.image_gc.eligible(all, now) {
            if freed >= excess {
                break;
            }
            // A pod may have come meanwhile.
            if self.images_in_use().contains(&one.image.digest) {
                continue;
            }
            let Some(store) = self.runtimes.stores().get(one.store) else { continue };
            match store.remove(&one.image).await {
                Ok(()) => {
                    tracing::info!(names = ?one.image.names, digest = one.image.digest, "an image that nobody uses is removed");
                    freed += one.image.size_bytes;
                    removed.push(one);
                }
                Err(error) => tracing::debug!(digest = one.image.digest, %error, "an image is not removed"),
            }
        }
        removed
    }

    fn complain_of_images(&self, rounds: &mut Rounds, reason: &'static str, message: String) {
        let now = Instant::now();
        if rounds.complained.is_none_or(|at| now.saturating_duration_since(at) >= PERIOD) {
            rounds.complained = Some(now);
            tracing::warn!(reason, message);
            self.recorder.node(&self.config.node_name, reason, message);
        }
    }
}

/// The largest ones, as a kubelet tells them.
fn told(mut all: Vec<StoredImage>) -> Vec<ContainerImage> {
    all.sort_by(|one, other| (other.size_bytes, &one.digest).cmp(&(one.size_bytes, &other.digest)));
    let largest = all.into_iter().filter(|image| !image.names.is_empty()).take(TOLD_MAX);
    let one = |image: StoredImage| ContainerImage {
        names: Some(image.names.into_iter().take(NAMES_TOLD_MAX).collect()),
        size_bytes: i64::try_from(image.size_bytes).ok(),
    };
    largest.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digest: &str, size_bytes: u64, names: &[&str]) -> StoredImage {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        StoredImage { digest: digest.to_owned(), names, size_bytes, is_ours: true }
    }

    #[test]
    fn a_node_tells_its_largest_images() {
        let six = ["1", "2", "3", "4", "5", "6"];
        let mut all = vec![image("small", 1, &["s"]), image("large", 9, &six), image("unnamed", 5, &[])];
        all.extend((0..60).map(|number| image(&format!("{number:02}"), 3, &["m"])));
        let told = told(all);
        let sizes: Vec<_> = told.iter().filter_map(|image| image.size_bytes).collect();
        assert_eq!((sizes.len(), sizes[0], sizes[1], sizes[49]), (50, 9, 3, 3));
        assert_eq!(told[0].names.as_ref().unwrap().len(), 5);
    }

    #[test]
    fn use_is_remembered_of_what_is_there() {
        let (images, start) = (Images::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        images.used("pulled", start);
        let all = [(0, image("old", 1, &[])), (1, image("pulled", 1, &[]))];
        let in_use = HashSet::from(["old".to_owned()]);
        let found = images.listed(&all, &in_use, true, later);
        let uses: Vec<_> = found.iter().map(|one| (one.store, one.in_use, one.used)).collect();
        let old = Use { first: None, last: Some(later) };
        let pulled = Use { first: Some(start), last: Some(start) };
        assert_eq!(uses, [(0, true, old), (1, false, pulled)]);
        // One that comes by itself counts from its first list on; one that is gone and comes again is new.
        let found = images.listed(&[(0, image("new", 1, &[]))], &HashSet::new(), false, later);
        assert_eq!(found[0].used, Use { first: Some(later), last: None });
        let found = images.listed(&all[1..], &HashSet::new(), false, later);
        assert_eq!(found[0].used, Use { first: Some(later), last: None });
    }
}
