//! The boundary between the agent, which knows pods, and what runs a container: wasm, Docker, or a fake for tests.
//!
//! Nothing above this trait knows which runtime it is; nothing below knows Kubernetes objects.

mod availability;
mod buffer;
mod code;
mod container;
mod exec;
pub mod fake;
mod image;
mod lines;
mod logs;
mod mounts;
mod security;
mod store;
mod survivor;
mod terminal;

pub use availability::Availability;
pub use buffer::LogBuffer;
pub use code::{Code, Codegen, Compiler, GivenCode};
pub use container::{Container, ContainerSpec, Exit, ExitReason, Limits, Mount, PodRef, Usage};
pub use exec::{AttachSpec, Attached, ExecError, ExecSpec, Process, TerminalSize};
pub use image::{Fetch, Image, ImageError, ImageKind, ImageRequest, PullPolicy};
pub use lines::LogLines;
pub use logs::{LOG_FILE_BYTES_MAX, LOG_FILES_MAX, LogSink, StdStream};
pub use mounts::{Staged, stage};
pub use security::Security;
pub use store::{ImageStore, StoreError, StoredImage};
pub use survivor::{Adoption, Survivor};
pub use terminal::Terminal;
pub use wherry_api::Login;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

/// Runs containers.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The scheme in `containerID`, such as `wasm`.
    fn name(&self) -> &'static str;

    /// Whether containers can be started here, as it changes. `None`: always.
    fn availability(&self) -> Option<watch::Receiver<Availability>> {
        None
    }

    /// Whether its containers have a file system of their own, which a file can be mounted into; else they have nothing but mounts.
    fn has_root(&self) -> bool {
        false
    }

    /// Makes an image ready to start: present, checked, compiled.
    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError>;

    /// Starts a container; it runs until it exits or is stopped. An error is a `StartError` for the pod's status.
    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError>;

    /// What an earlier process of the node has left of a pod that sees these `host_directories`.
    fn survivors(&self, _pod: &PodRef, _host_directories: &[PathBuf]) -> Vec<Survivor> {
        Vec::new()
    }

    /// Takes a survivor over, as if it had been started here: its end is kept until somebody has dropped the container.
    /// `None`: it is gone.
    fn adopt(&self, _: &Survivor, _: Adoption) -> Option<Arc<dyn Container>> {
        None
    }

    /// All pods of the node are known: survivors that were not taken over until now are ended.
    fn end_survivors(&self) {}
}

/// Why a container did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// The `reason` in the container's status, such as `RunContainerError`.
    pub reason: &'static str,
    /// What, where, and what to do.
    pub message: String,
}

impl StartError {
    /// Whether the container waits for something to be put right, or to come: no start was tried that has failed, and so it is
    /// tried again whatever the pod's restart policy is, as a kubelet has it.
    pub fn is_hindrance(&self) -> bool {
        matches!(self.reason, "CreateContainerConfigError" | "CreateContainerError" | "ContainerCreating")
    }
}
