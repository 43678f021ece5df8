//! Processes beside a container's own, and joining its own.

use std::io;
use std::os::fd::OwnedFd;
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
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use tokio::io::AsyncWrite;
use tokio::sync::{oneshot, watch};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;
use wherry_base::Backoff;
use wherry_runtime::{AttachSpec, Attached, ExecError, ExecSpec, Exit, Process, TerminalSize};

use crate::engine::{ASK_MAX, CHANGE_MAX, EngineError, within};
use crate::inner::Inner;
use crate::raw::{Framing, hijack};

/// The first and the longest wait before a process is asked for its exit code again.
const EXIT_POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl From<EngineError> for ExecError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::NotFound(_) | EngineError::Refused(_) | EngineError::Stalled(_) => Self::Failed(message),
            EngineError::Absent(_) | EngineError::NotRoot | EngineError::Silent(_) => Self::Unavailable(message),
        }
    }
}

/// Starts a process in a container. One that nobody waits for any more when it has come to run is killed.
pub async fn exec(inner: &Arc<Inner>, container: &str, spec: ExecSpec) -> Result<Attached, ExecError> {
    let (started, when_started) = oneshot::channel();
    let (starting, container) = (Arc::clone(inner), container.to_owned());
    inner.drain.spawn(async move {
        if let Err(Ok(unwanted)) = started.send(start(&starting, &container, spec).await) {
            unwanted.process.kill().await;
        }
    });
    when_started.await.unwrap_or_else(|_| Err(ExecError::Unavailable("the node is ending".to_owned())))
}

async fn start(inner: &Arc<Inner>, container: &str, spec: ExecSpec) -> Result<Attached, ExecError> {
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
    let id = within(CHANGE_MAX, engine.api.create_exec(container, options)).await?.id;
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

    /// Its process, as soon as it runs: the engine answers before it has started it. `None`: it has ended.
    async fn pid(&self) -> Result<Option<Pid>, EngineError> {
        let mut backoff = Backoff::new(EXIT_POLL.0, EXIT_POLL.1);
        loop {
            let engine = self.inner.engine.get()?;
            let found = within(ASK_MAX, engine.api.inspect_exec(&self.id)).await?;
            let is_running = found.running == Some(true);
            let pid = found.pid.filter(|pid| is_running && *pid > 0).and_then(|pid| i32::try_from(pid).ok());
            if pid.is_some() || !is_running && found.exit_code.is_some() {
                return Ok(pid.and_then(Pid::from_raw));
            }
            tokio::time::sleep(backoff.fail()).await;
        }
    }

    /// The engine has no call that ends what was started in a container. `None`: it has ended.
    async fn opened(&self) -> Result<Option<OwnedFd>, EngineError> {
        let Some(pid) = self.pid().await? else { return Ok(None) };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
        // It was that process which was opened only if it is still the one.
        Ok((self.pid().await? == Some(pid)).then_some(process))
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

    async fn kill(&self) {
        match within(CHANGE_MAX, self.opened()).await {
            Ok(Some(process)) => drop(pidfd_send_signal(process, Signal::KILL)),
            Ok(None) => {}
            Err(error) => tracing::warn!(exec = self.id, %error, "a program in a container is left running"),
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
