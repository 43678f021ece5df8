//! Images as files, for the HTTP routes and for the same process.
//!
//! ```text
//! blobs/sha256/HEX                        all content, manifests included
//! repositories/NAME/_manifests/HEX        the media type of a manifest of that repository
//! repositories/NAME/_tags/TAG             the digest that the tag stands for
//! uploads/ID                              what is on its way; emptied at the start
//! ```
//! A file appears under its name only when it is whole and on disk.

mod files;
mod garbage;
mod manifest;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{Digest, Error, RepositoryName};
pub(crate) use upload::UploadId;
use upload::Uploads;

/// The registry's files. Cheap to clone; one process at a time.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    uploads: Uploads,
    /// Held while references change, so that garbage collection sees a moment when nothing does.
    changing: Mutex<garbage::Fresh>,
}

/// A manifest, or an index of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// Its media type, as it was pushed.
    pub media_type: String,
    /// The manifest as it was pushed.
    pub bytes: Bytes,
}

/// A tagged image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub repository: RepositoryName,
    /// What it is called.
    pub tag: String,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Manifest, configuration and layers together, in bytes.
    pub size_bytes: u64,
}

/// What garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs.
    pub blobs: usize,
    /// Their size, in bytes.
    pub size_bytes: u64,
}

impl ImageStore {
    /// Opens the store in a directory, made where it is missing; forgets unfinished uploads.
    pub fn open(root: &Path) -> Result<Self, Error> {
        files::make_directories(root)?;
        let inner = Inner { root: root.to_owned(), uploads: Uploads::default(), changing: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Stores content under its digest; nothing to do where it is there already.
    pub async fn put_blob(&self, content: Bytes) -> Result<Digest, Error> {
        self.blocking(move |store| {
            let digest = Digest::of(&content);
            let path = store.blob_path(&digest);
            if !path.exists() {
                files::write_whole(&store.root, &path, &content)?;
            }
            store.changing().add(digest.clone());
            Ok(digest)
        })
        .await
    }

    /// The whole content of a blob.
    pub async fn blob(&self, digest: &Digest) -> Result<Bytes, Error> {
        let digest = digest.clone();
        self.blocking(move |store| store.read_blob(&digest)).await
    }

    /// The size of a blob, in bytes.
    pub async fn blob_size(&self, digest: &Digest) -> Result<u64, Error> {
        let digest = digest.clone();
        self.blocking(move |store| store.size_of_blob(&digest)).await
    }

    /// Removes a blob that no manifest refers to.
    pub async fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let digest = digest.clone();
        self.blocking(move |store| store.remove_unreferenced(&digest)).await
    }

    /// Removes what no manifest refers to, except what was pushed a moment ago and may be about to be referred to.
    pub async fn collect_garbage(&self) -> Result<Collected, Error> {
        self.blocking(|store| store.sweep()).await
    }

    /// The file that holds a blob, whether or not it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.inner.blob_path(digest)
    }

    /// Runs file work where it holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(Error::Io(std::io::Error::other(error))))
    }
}

impl Inner {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn read_blob(&self, digest: &Digest) -> Result<Bytes, Error> {
        let content = files::found(std::fs::read(self.blob_path(digest)))?;
        content.map(Bytes::from).ok_or_else(|| Error::BlobUnknown(digest.clone()))
    }

    fn size_of_blob(&self, digest: &Digest) -> Result<u64, Error> {
        let metadata = files::found(std::fs::metadata(self.blob_path(digest)))?;
        metadata.map(|metadata| metadata.len()).ok_or_else(|| Error::BlobUnknown(digest.clone()))
    }
}
