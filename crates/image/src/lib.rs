//! What a module is: its kind, its world, what it imports; its form as an OCI artifact; names; the registry's client. And
//! Linux images, as far as the registry keeps them for nodes that have an engine.
//!
//! The command line checks a file here before it loads it, and the node checks again before it runs it: whatever
//! comes out of a registry is outside input. Runs nothing and compiles nothing.

mod artifact;
mod client;
mod inspect;
mod linux;
mod reference;
mod registries;
mod sources;

pub use artifact::{Artifact, CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE};
pub use client::{Blob, Listed, RegistryClient};
pub use inspect::{InspectError, Inspected, ModuleKind, inspect};
pub use linux::{ArchiveError, Content, Descriptor, LinuxImage, Part, Place, Saved, tar_of};
pub use reference::{Reference, ReferenceError};
pub use registries::Registries;
pub use sources::Sources;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use wherry_api::Login;

/// Where modules come from.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// The digest (`sha256:…`) of the module that a name stands for now, for who has these logins.
    async fn resolve(&self, reference: &Reference, logins: &[Login]) -> Result<String, FetchError>;

    /// The module of that digest.
    async fn fetch(&self, reference: &Reference, digest: &str, logins: &[Login]) -> Result<Bytes, FetchError>;
}

/// Where Linux images come from that no engine has: the cluster's registry.
#[async_trait]
pub trait LinuxSource: Send + Sync + 'static {
    /// What a name stands for now.
    async fn content(&self, reference: &Reference) -> Result<Content, FetchError>;

    /// A piece of an image, as it comes; whoever reads it checks what it is.
    async fn blob(&self, reference: &Reference, digest: &str) -> Result<BlobStream, FetchError>;
}

/// The bytes of a piece of an image.
pub type BlobStream = BoxStream<'static, io::Result<Bytes>>;

/// Why an image is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// No such name or digest.
    #[error("{0}: not found")]
    NotFound(String),
    /// There, but no module.
    #[error("{0}: not a wasm artifact")]
    NotAModule(String),
    /// There, perhaps, but not for who asks.
    #[error("access denied: {0}")]
    Denied(String),
    /// The registry cannot be reached, or does not do what was asked.
    #[error("{0}")]
    Unavailable(String),
}
