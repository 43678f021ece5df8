//! Joining a container that its runtime cannot join: what it prints from now on is read from its log, line by
//! line.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use wherry_runtime::{AttachSpec, Attached, Container, ExecError, Process, StdStream, TerminalSize};

use crate::agent::AgentHandle;
use crate::logs::{ReadOptions, read};
use crate::server::logs::run_of;
use crate::worker::Worker;

/// The output of a container from now on, and a way to its stdin where that is wanted.
pub fn join(
    agent: &AgentHandle,
    worker: &Arc<Worker>,
    name: &str,
    spec: AttachSpec,
    container: &dyn Container,
) -> Result<Attached, ExecError> {
    if !spec.stdin {
        return output(agent, worker, name);
    }
    let fields = worker.fields(name, |fields| (fields.stdin == Some(true), fields.stdin_once == Some(true)));
    let stdin = match fields {
        Some((true, once)) => container.stdin(once),
        _ => None,
    };
    let closed = || ExecError::Unsupported(format!("container {name} has no stdin, or it was closed: set stdin: true"));
    Ok(Attached { stdin: Some(stdin.ok_or_else(closed)?), ..output(agent, worker, name)? })
}

/// The output of a container from now on.
fn output(agent: &AgentHandle, worker: &Arc<Worker>, container: &str) -> Result<Attached, ExecError> {
    let run = run_of(worker, container, false).map_err(|(_, message)| ExecError::Failed(message))?;
    let from_now = |stream| {
        let options = ReadOptions { stream: Some(stream), tail_lines: Some(0), follow: true, ..ReadOptions::default() };
        let chunks = read(&agent.context.logs, &worker.pod, container, run, &options);
        chunks.map(move |chunk| chunk.map(|chunk| (stream, chunk))).boxed()
    };
    let both: [BoxStream<'static, io::Result<_>>; 2] = [from_now(StdStream::Out), from_now(StdStream::Err)];
    Ok(Attached { stdin: None, output: futures::stream::select_all(both).boxed(), process: Arc::new(Followed) })
}

/// A process of which only the output is known.
struct Followed;

#[async_trait]
impl Process for Followed {
    async fn exited(&self) -> io::Result<i32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn resize(&self, _: TerminalSize) {}
}
