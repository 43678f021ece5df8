//! What a container is started from, and what is known of it while it runs and after.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use wherry_vnet::Namespace;

use crate::exec::{AttachSpec, Attached, ExecError, ExecSpec, TerminalSize};
use crate::image::Image;
use crate::logs::LogSink;
use crate::security::Security;
use crate::terminal::Terminal;

/// The pod that a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

/// A directory or file of the node that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory (or file) on the node.
    pub host: PathBuf,
    /// Its path for the guest.
    pub guest: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What a container may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a core; `None`: all there is.
    pub cpu_milli: Option<u32>,
    /// Bytes of memory; `None`: all there is.
    pub memory_bytes: Option<u64>,
}

/// Everything that a runtime needs to start a container.
#[derive(Clone)]
pub struct ContainerSpec {
    /// The container's own id, unique on the node.
    pub id: String,
    /// Its pod.
    pub pod: PodRef,
    /// Its name in the pod.
    pub name: String,
    /// Which run of the container this is: how often it was started before.
    pub run: u32,
    /// What runs.
    pub image: Image,
    /// `command`: replaces the image's entry point; empty keeps it. For a module its first word is `argv[0]`.
    pub command: Vec<String>,
    /// `args`.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// `workingDir`; empty: the root.
    pub working_dir: String,
    /// The directories that it sees.
    pub mounts: Vec<Mount>,
    /// Directories of the node that containers of the pod see and that are not the pod's own (`hostPath`).
    pub host_directories: Vec<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// Thousandths of a core that it asks for: its share where all want more.
    pub cpu_requested_milli: u32,
    /// What it may do.
    pub security: Security,
    /// What the pod takes its machine's name for.
    pub hostname: String,
    /// The pod's network.
    pub network: Arc<Namespace>,
    /// Where an HTTP module is served: the first `containerPort`; `None` where the container names no port.
    pub http_port: Option<u16>,
    /// Where stdout and stderr go.
    pub logs: Arc<dyn LogSink>,
    /// Whether stdin stays open until the container is stopped, for who attaches to it; else it is empty.
    pub stdin: bool,
    /// Whether who attaches to it first ends it: `stdinOnce`. Of no meaning where [`Container::stdin`] is there, who is told then.
    pub stdin_once: bool,
    /// Whether its stdin, stdout and stderr are a terminal.
    pub tty: bool,
    /// The terminal, where whoever runs the container is given one and makes none.
    pub terminal: Option<Arc<Terminal>>,
}

/// A running or ended container.
#[async_trait]
pub trait Container: Send + Sync + 'static {
    /// Resolves when it has ended; the same answer ever after.
    async fn exited(&self) -> Exit;

    /// Asks it to end (SIGTERM): listeners and stdin close; an HTTP module takes no new request and finishes the rest.
    fn stop(&self);

    /// Ends it now (SIGKILL), within 10 ms.
    fn kill(&self);

    /// What it has used so far.
    fn usage(&self) -> Usage;

    /// The same, and when that was so: some runtimes hear of it now and then.
    fn measured(&self) -> (Usage, Instant) {
        (self.usage(), Instant::now())
    }

    /// Starts another process in it. Modules have none.
    async fn exec(&self, _: ExecSpec) -> Result<Attached, ExecError> {
        Err(ExecError::no_processes())
    }

    /// A way to its stdin, where that is open (`ContainerSpec::stdin`) and the runtime has no other; `once`: who uses it ends
    /// it for all.
    fn stdin(&self, _once: bool) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        None
    }

    /// Its terminal has another size. Does nothing where it has none.
    fn resize(&self, _: TerminalSize) {}

    /// Joins its own process. Where a runtime cannot, the agent follows the container's log.
    async fn attach(&self, _: AttachSpec) -> Result<Attached, ExecError> {
        Err(ExecError::Unsupported("the container's runtime cannot be joined".to_owned()))
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + signal where a signal ended it.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// For a person: a trap's text and place. Empty where there is nothing to say.
    pub message: String,
}

/// Why a container ended: `reason` in its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// By itself, with code 0.
    Completed,
    /// By itself with another code, by a trap, or killed.
    Error,
    /// It wanted more memory than its limit.
    OomKilled,
    /// The process that it ran in is gone.
    SandboxChanged,
}

impl ExitReason {
    /// The word in `reason`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::SandboxChanged => "SandboxChanged",
        }
    }
}

/// What a container has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since its start, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory at present, in bytes.
    pub memory_bytes: u64,
}
