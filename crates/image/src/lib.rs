//! What a module is: its kind, its world, what it imports; its form as an OCI artifact; names; the registry's client.
//!
//! The command line checks a file here before it loads it, and the node checks again before it runs it: whatever
//! comes out of a registry is outside input. Runs nothing and compiles nothing.

mod artifact;
mod client;
mod inspect;
mod reference;
mod registries;

pub use artifact::{Artifact, CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE};
pub use client::{Listed, RegistryClient};
pub use inspect::{InspectError, Inspected, ModuleKind, inspect};
pub use reference::{Reference, ReferenceError};
pub use registries::Registries;

use async_trait::async_trait;
use bytes::Bytes;

/// Where modules come from.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// The digest (`sha256:…`) of the module that a name stands for now.
    async fn resolve(&self, reference: &Reference) -> Result<String, FetchError>;

    /// The module of that digest.
    async fn fetch(&self, reference: &Reference, digest: &str) -> Result<Bytes, FetchError>;
}

/// Why a module is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// No such name or digest.
    #[error("{0}: not found")]
    NotFound(String),
    /// There, but no module.
    #[error("{0}: not a wasm artifact")]
    NotAModule(String),
    /// The registry cannot be reached or refuses.
    #[error("{0}")]
    Unavailable(String),
}
