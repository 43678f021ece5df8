//! Images: their content as files of this master, what they are called in the records that all masters share.
//!
//! ```text
//! blobs/sha256/HEX                        all content, manifests included
//! uploads/ID                              what is on its way; emptied at the start
//! ```
//! A file appears under its name only when it is whole and on disk. Content that another master has is fetched when it is
//! asked for, and otherwise soon.

mod files;
mod follow;
mod garbage;
mod legacy;
mod manifest;
mod obtain;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{RwLock, Semaphore, watch};
use wherry_client::Client;

use crate::records::Records;
use crate::{Digest, Error, Peer};
pub(crate) use upload::UploadId;
use upload::Uploads;

/// The registries of the other masters.
pub type Peers = Vec<Arc<dyn Peer>>;

/// How many blobs are fetched from other masters at once.
const FETCHES_MAX: usize = 8;

/// The registry's files. Cheap to clone; one process at a time.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    uploads: Uploads,
    fresh: Mutex<garbage::Fresh>,
    /// Shared while references change; garbage collection has a moment when none does.
    changing: RwLock<()>,
    records: Records,
    peers: watch::Receiver<Peers>,
    fetches: Semaphore,
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

/// What garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs.
    pub blobs: usize,
    /// Their size, in bytes.
    pub size_bytes: u64,
}

impl ImageStore {
    /// Opens the store in a directory, made where it is missing; forgets unfinished uploads. The client may read and write
    /// ConfigMaps of `kube-system`; the peers are the registries of all other masters.
    pub fn open(root: &Path, client: &Client, peers: watch::Receiver<Peers>) -> Result<Self, Error> {
        files::make_directories(root)?;
        let inner = Inner {
            root: root.to_owned(),
            uploads: Uploads::default(),
            fresh: Mutex::default(),
            changing: RwLock::default(),
            records: Records::new(client),
            peers,
            fetches: Semaphore::new(FETCHES_MAX),
        };
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
            store.fresh().add(digest.clone());
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
