//! Removes blobs that no manifest refers to.
//!
//! A push sends the blobs first and the manifest last: blobs that came lately are spared, whatever refers to them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use super::{Collected, Inner, files};
use crate::{Digest, Error};

/// How many blobs are spared because they came last.
const FRESH_MAX: usize = 256;

/// Blobs that were pushed and that no manifest has named since, oldest first.
#[derive(Default)]
pub(super) struct Fresh(VecDeque<Digest>);

impl Fresh {
    pub(super) fn add(&mut self, digest: Digest) {
        self.0.push_back(digest);
        if self.0.len() > FRESH_MAX {
            self.0.pop_front();
        }
    }

    pub(super) fn forget(&mut self, named: &[Digest]) {
        self.0.retain(|digest| !named.contains(digest));
    }
}

impl Inner {
    pub(super) fn changing(&self) -> MutexGuard<'_, Fresh> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sweep(&self) -> Result<Collected, Error> {
        let fresh = self.changing();
        let kept = self.referenced()?;
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

    pub(super) fn remove_unreferenced(&self, digest: &Digest) -> Result<(), Error> {
        let mut fresh = self.changing();
        if self.referenced()?.contains(digest) {
            return Err(Error::BlobInUse(digest.clone()));
        }
        fresh.forget(std::slice::from_ref(digest));
        let removed = files::found(std::fs::remove_file(self.blob_path(digest)))?;
        removed.ok_or_else(|| Error::BlobUnknown(digest.clone()))
    }

    /// Everything that the manifests refer to, and they themselves.
    fn referenced(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut roots = Vec::new();
        for repository in self.repositories()? {
            roots.extend(self.manifests(&repository)?);
        }
        self.with_references(roots)
    }
}
