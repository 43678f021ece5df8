//! Processes beside a container's own (`exec`), and joining its own (`attach`): what a runtime gives whoever asks.
//!
//! Knows no wire: who carries these bytes to a client is the agent's matter.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::StdStream;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A process that is to be started in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Whether it has a terminal; stdout and stderr are one then.
    pub tty: bool,
    /// Whether it has a stdin; else that is empty.
    pub stdin: bool,
    /// The terminal's size at the start, where it is known.
    pub size: Option<TerminalSize>,
}

/// What is wanted of a container's own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachSpec {
    /// Whether to write to its stdin.
    pub stdin: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// The ends of a process's streams. Dropping them lets the process go on alone, at the end of its stdin.
pub struct Attached {
    /// Its stdin, where it was asked for; shutting it down is the end of its input.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// What it prints from now on. Ends when the process has closed its output.
    pub output: BoxStream<'static, io::Result<(StdStream, Bytes)>>,
    /// The process itself.
    pub process: Arc<dyn Process>,
}

/// A process that somebody is attached to.
#[async_trait]
pub trait Process: Send + Sync + 'static {
    /// Resolves with the exit code when it has ended: after its output's end, if somebody reads that.
    async fn exited(&self) -> io::Result<i32>;

    /// Its terminal has another size. Does nothing where it has none.
    async fn resize(&self, size: TerminalSize);

    /// Ends it (SIGKILL), where it was started by `exec` and its streams are still held: without them a runtime may take it for
    /// ended. A container's own ends with the container.
    async fn kill(&self) {}
}

/// Why a process cannot be started, or joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// The runtime has no such thing: why, and what to do instead.
    #[error("{0}")]
    Unsupported(String),
    /// The runtime tried, and this is what went wrong.
    #[error("{0}")]
    Failed(String),
    /// The runtime cannot be asked now, which says nothing of the container: why.
    #[error("{0}")]
    Unavailable(String),
}

impl ExecError {
    /// What a container says that is a module.
    pub(crate) fn no_processes() -> Self {
        let message = "a module has no other programs to run and no shell: use kubectl logs or port-forward, or a helper container";
        Self::Unsupported(message.to_owned())
    }
}
