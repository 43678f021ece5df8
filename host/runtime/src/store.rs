//! Where a runtime keeps its images, for who sees to it that they do not fill the disk.

use std::path::PathBuf;

use async_trait::async_trait;

/// An image that is on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredImage {
    /// `sha256:…`, as [`crate::Image`] has it.
    pub digest: String,
    /// What it is called here, with digests and with tags; none where its last name stands for another one by now.
    pub names: Vec<String>,
    /// What it takes of the disk, as far as that is known: images may share parts.
    pub size_bytes: u64,
    /// Whether the node has brought it here, and may remove it: else it is somebody else's.
    pub is_ours: bool,
}

/// The images of a runtime, or of several that share them.
#[async_trait]
pub trait ImageStore: Send + Sync + 'static {
    /// A path on the file system that they are on; `None`: it is not known now, as long as nobody answers.
    fn place(&self) -> Option<PathBuf>;

    /// All images.
    async fn list(&self) -> Result<Vec<StoredImage>, StoreError>;

    /// Removes an image that is `is_ours`. One that something still needs stays, which is an error.
    async fn remove(&self, image: &StoredImage) -> Result<(), StoreError>;
}

/// Why images cannot be listed, or one not removed: a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);
