//! Blobs that arrive in pieces: hashed as they come, visible once whole.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::{ImageStore, files};
use crate::{BLOB_BYTES_MAX, Digest, Error, UPLOADS_MAX};

/// What names an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UploadId(Uuid);

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UploadId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::parse_str(text).map(Self).map_err(|_| Error::UploadUnknown)
    }
}

/// The uploads under way, in the order in which they began.
#[derive(Default)]
pub(super) struct Uploads(Mutex<VecDeque<(UploadId, Arc<tokio::sync::Mutex<Upload>>)>>);

/// One upload. Its file goes when it does, unless it was renamed before.
struct Upload {
    path: PathBuf,
    file: tokio::fs::File,
    hasher: Sha256,
    size: u64,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Uploads {
    fn add(&self, id: UploadId, upload: Upload) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back((id, Arc::new(tokio::sync::Mutex::new(upload))));
        if all.len() > UPLOADS_MAX {
            all.pop_front();
        }
    }

    fn find(&self, id: UploadId) -> Result<Arc<tokio::sync::Mutex<Upload>>, Error> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|(other, _)| *other == id);
        found.map(|(_, upload)| Arc::clone(upload)).ok_or(Error::UploadUnknown)
    }

    fn remove(&self, id: UploadId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != id);
    }
}

impl ImageStore {
    /// Begins an upload.
    pub(crate) async fn begin_upload(&self) -> Result<UploadId, Error> {
        let id = UploadId(Uuid::new_v4());
        let path = files::temporary(&self.inner.root, id.0);
        let file = tokio::fs::File::create(&path).await?;
        self.inner.uploads.add(id, Upload { path, file, hasher: Sha256::new(), size: 0 });
        Ok(id)
    }

    /// How many bytes an upload has.
    pub(crate) async fn upload_size(&self, id: UploadId) -> Result<u64, Error> {
        Ok(self.inner.uploads.find(id)?.lock().await.size)
    }

    /// Appends to an upload, which must have `at` bytes where that is said. The new size.
    pub(crate) async fn append(&self, id: UploadId, at: Option<u64>, chunk: &[u8]) -> Result<u64, Error> {
        let upload = self.inner.uploads.find(id)?;
        let mut upload = upload.lock().await;
        if at.is_some_and(|at| at != upload.size) {
            return Err(Error::RangeInvalid { received: upload.size });
        }
        let size = upload.size + chunk.len() as u64;
        if size > BLOB_BYTES_MAX {
            self.inner.uploads.remove(id);
            return Err(Error::TooLarge { limit_bytes: BLOB_BYTES_MAX });
        }
        upload.file.write_all(chunk).await?;
        upload.hasher.update(chunk);
        upload.size = size;
        Ok(size)
    }

    /// Ends an upload: the blob is there if it has the digest.
    pub(crate) async fn finish_upload(&self, id: UploadId, announced: &Digest) -> Result<(), Error> {
        let upload = self.inner.uploads.find(id)?;
        self.inner.uploads.remove(id);
        let mut upload = upload.lock().await;
        let found = Digest::finish(std::mem::take(&mut upload.hasher));
        if found != *announced {
            return Err(Error::DigestMismatch { announced: announced.clone(), found });
        }
        upload.file.flush().await?;
        upload.file.sync_all().await?;
        let temporary = upload.path.clone();
        self.blocking(move |store| {
            files::publish(&temporary, &store.blob_path(&found))?;
            store.fresh().add(found);
            Ok(())
        })
        .await
    }

    /// Gives an upload up.
    pub(crate) fn cancel_upload(&self, id: UploadId) -> Result<(), Error> {
        self.inner.uploads.find(id)?;
        self.inner.uploads.remove(id);
        Ok(())
    }
}
