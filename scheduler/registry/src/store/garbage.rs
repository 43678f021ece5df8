//! Removes blobs that no manifest refers to.
//!
//! A push sends the blobs first and the manifest last: blobs that came lately are spared, whatever refers to them. Each master
//! collects its own: where an image is removed, and where it is seen to have gone.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use super::{Collected, ImageStore, Inner, files};
use crate::{Digest, Error};

/// How many blobs are spared because they came last.
const FRESH_MAX: usize = 256;

/// Blobs that came and that no manifest has named since, oldest first.
#[derive(Default)]
pub(super) struct Fresh(VecDeque<Digest>);

impl Fresh {
    pub(super) fn add(&mut self, digest: Digest) {
        self.forget(std::slice::from_ref(&digest));
        self.0.push_back(digest);
        if self.0.len() > FRESH_MAX {
            self.0.pop_front();
        }
    }

    pub(super) fn forget(&mut self, named: &[Digest]) {
        self.0.retain(|digest| !named.contains(digest));
    }
}

impl ImageStore {
    /// Removes what no manifest refers to, except what was pushed a moment ago and may be about to be referred to.
    pub async fn collect_garbage(&self) -> Result<Collected, Error> {
        let _nothing_changes = self.inner.changing.write().await;
        let roots = self.roots().await?;
        self.blocking(|store| store.sweep(roots)).await
    }

    /// Removes a blob that no manifest refers to.
    pub async fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let _nothing_changes = self.inner.changing.write().await;
        let (roots, digest) = (self.roots().await?, digest.clone());
        self.blocking(move |store| store.remove_unreferenced(roots, &digest)).await
    }

    /// All manifests.
    async fn roots(&self) -> Result<Vec<Digest>, Error> {
        let records = self.inner.records.all().await?;
        Ok(records.into_values().flat_map(|record| record.manifests.into_keys()).collect())
    }
}

impl Inner {
    pub(super) fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self, roots: Vec<Digest>) -> Result<Collected, Error> {
        let kept: BTreeSet<Digest> = self.with_references(roots);
        let fresh = self.fresh();
        let mut collected = Collected::default();
        for hex in files::names(&self.root.join("blobs/sha256"))? {
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            if !kept.contains(&digest) && !fresh.0.contains(&digest) {
                collected.size_bytes += self.size_of_blob(&digest)?;
                collected.blobs += 1;
                std::fs::remove_file(self.blob_path(&digest))?;
            }
        }
        Ok(collected)
    }

    fn remove_unreferenced(&self, roots: Vec<Digest>, digest: &Digest) -> Result<(), Error> {
        if self.with_references(roots).contains(digest) {
            return Err(Error::BlobInUse(digest.clone()));
        }
        self.fresh().forget(std::slice::from_ref(digest));
        let removed = files::found(std::fs::remove_file(self.blob_path(digest)))?;
        removed.ok_or_else(|| Error::BlobUnknown(digest.clone()))
    }
}
