//! Processes beside a container's own, and joining its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::exec::CreateExecOptions;
use bollard::query_parameters::{ResizeContainerTTYOptions, ResizeExecOptions};
use bytes::Bytes;
use futures::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;
use wherry_base::Backoff;
use wherry_runtime::{AttachSpec, Attached, ExecError, ExecSpec, Exit, Process, TerminalSize};

use crate::engine::{ASK_MAX, EngineError, within};
use crate::inner::Inner;
use crate::raw::{Framing, hijack};

/// The first and the longest wait before a process is asked for its exit code again.
const EXIT_POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl From<EngineError> for ExecError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Starts a process in a container.
pub async fn exec(inner: &Arc<Inner>, container: &str, spec: ExecSpec) -> Result<Attached, ExecError> {
    let engine = inner.engine.get()?;
    let tty = spec.tty;
    let options = CreateExecOptions {
        cmd: Some(spec.command),
        tty: Some(tty),
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(!tty),
        ..CreateExecOptions::default()
    };
    let id = within(ASK_MAX, engine.api.create_exec(container, options)).await?.id;
    let body = json!({"Detach": false, "Tty": tty}).to_string().into();
    let connection = hijack(&engine, &format!("/exec/{id}/start"), body, &inner.drain).await?;
    let output_ended = CancellationToken::new();
    let process = Arc::new(Executed { inner: Arc::clone(inner), id, tty, output_ended: output_ended.clone() });
    if let Some(size) = spec.size {
        process.resize(size).await;
    }
    Ok(attached(connection, spec.stdin, tty, output_ended, process))
}

/// Joins a container's own process, which has a terminal or not.
pub async fn attach(
    inner: &Arc<Inner>,
    container: &str,
    tty: bool,
    spec: AttachSpec,
    ended: watch::Receiver<Option<Exit>>,
) -> Result<Attached, ExecError> {
    let engine = inner.engine.get()?;
    let stdin = u8::from(spec.stdin);
    let path = format!("/containers/{container}/attach?stream=1&stdout=1&stderr=1&stdin={stdin}");
    let connection = hijack(&engine, &path, Bytes::new(), &inner.drain).await?;
    let process = Arc::new(Own { inner: Arc::clone(inner), name: container.to_owned(), tty, ended });
    Ok(attached(connection, spec.stdin, tty, CancellationToken::new(), process))
}

fn attached(
    connection: TokioIo<Upgraded>,
    stdin: bool,
    tty: bool,
    output_ended: CancellationToken,
    process: Arc<dyn Process>,
) -> Attached {
    let (read, write) = tokio::io::split(connection);
    let framing = if tty { Framing::Terminal } else { Framing::Framed };
    let output = FramedRead::new(read, framing);
    let told = futures::stream::once(async move {
        output_ended.cancel();
        None
    });
    let output = output.map(Some).chain(told).filter_map(std::future::ready).boxed();
    let write: Pin<Box<dyn AsyncWrite + Send>> = Box::pin(write);
    Attached { stdin: stdin.then_some(write), output, process }
}

/// A process beside a container's own.
struct Executed {
    inner: Arc<Inner>,
    id: String,
    tty: bool,
    output_ended: CancellationToken,
}

impl Executed {
    /// Its exit code; `None`: it runs.
    async fn code(&self) -> Result<Option<i32>, EngineError> {
        let engine = self.inner.engine.get()?;
        let found = within(ASK_MAX, engine.api.inspect_exec(&self.id)).await?;
        let code = found.exit_code.filter(|_| found.running != Some(true));
        Ok(code.map(|code| i32::try_from(code).unwrap_or(-1)))
    }
}

#[async_trait]
impl Process for Executed {
    async fn exited(&self) -> io::Result<i32> {
        let mut backoff = Backoff::new(EXIT_POLL.0, EXIT_POLL.1);
        let mut output_ended = false;
        loop {
            if let Some(code) = self.code().await.map_err(io::Error::other)? {
                return Ok(code);
            }
            tokio::select! {
                () = self.output_ended.cancelled(), if !output_ended => {
                    output_ended = true;
                    backoff.reset();
                }
                () = tokio::time::sleep(backoff.fail()) => {}
            }
        }
    }

    async fn resize(&self, size: TerminalSize) {
        let Ok(engine) = self.inner.engine.get() else { return };
        if self.tty {
            let options = ResizeExecOptions { h: size.height.into(), w: size.width.into() };
            let _gone = within(ASK_MAX, engine.api.resize_exec(&self.id, options)).await;
        }
    }
}

/// A container's own process.
struct Own {
    inner: Arc<Inner>,
    name: String,
    tty: bool,
    ended: watch::Receiver<Option<Exit>>,
}

#[async_trait]
impl Process for Own {
    async fn exited(&self) -> io::Result<i32> {
        let mut ended = self.ended.clone();
        let exit = ended.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        exit.as_ref().map(|exit| exit.code).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn resize(&self, size: TerminalSize) {
        let Ok(engine) = self.inner.engine.get() else { return };
        if self.tty {
            let options = ResizeContainerTTYOptions { h: size.height.into(), w: size.width.into() };
            let _gone = within(ASK_MAX, engine.api.resize_container_tty(&self.name, options)).await;
        }
    }
}
