//! A container in a sandbox, as the agent sees it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use wherry_runtime::{
    AttachSpec, Attached, Container, ExecError, Exit, ExitReason, LogSink, Process, Staged, StdStream, TerminalSize,
    Usage,
};

use super::link::Link;
use crate::message::ToSandbox;

/// The exit code of what was killed with its sandbox.
const KILLED_CODE: i32 = 137;

/// A container that runs elsewhere.
pub(crate) struct Remote {
    pub(crate) id: String,
    pub(crate) logs: Arc<dyn LogSink>,
    /// Whether nothing of it runs any more when the sandbox has told its end: a command, whose guest was dropped then. What
    /// is left of the requests of an HTTP module, the sandbox does not know.
    pub(crate) ends_when_told: bool,
    link: Weak<Link>,
    _files: Staged,
    exit: watch::Sender<Option<Exit>>,
    /// What its process had used of the CPU before it.
    before: Duration,
    cpu_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    /// When its sandbox has told that last.
    told: Mutex<Instant>,
}

impl Remote {
    pub(crate) fn new(
        id: String,
        logs: Arc<dyn LogSink>,
        files: Staged,
        ends_when_told: bool,
        before: Duration,
        link: Weak<Link>,
    ) -> Arc<Self> {
        let (cpu_nanos, memory_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let exit = watch::Sender::new(None);
        let told = Mutex::new(Instant::now());
        Arc::new(Self { id, logs, ends_when_told, link, _files: files, exit, before, cpu_nanos, memory_bytes, told })
    }

    /// It has ended; only the first end counts.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|known| known.is_none() && known.replace(exit).is_none());
    }

    /// Its sandbox is gone.
    pub(crate) fn lose(&self, why: &str) {
        self.end(Exit { code: KILLED_CODE, reason: ExitReason::SandboxChanged, message: why.to_owned() });
    }

    /// It was killed, and its sandbox with it.
    pub(crate) fn killed(&self) {
        self.end(Exit { code: KILLED_CODE, reason: ExitReason::Error, message: String::new() });
    }

    pub(crate) fn used(&self, cpu_nanos: u64, memory_bytes: u64) {
        self.cpu_nanos.fetch_max(cpu_nanos, Ordering::Relaxed);
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What it has used of the CPU, where that is what its sandbox has used.
    fn cpu_of_one(&self) -> Option<u64> {
        let all = self.link.upgrade()?.cpu_of_one()?;
        Some(u64::try_from(all.saturating_sub(self.before).as_nanos()).unwrap_or(u64::MAX))
    }

    fn tell(&self, message: &ToSandbox) {
        if let Some(link) = self.link.upgrade() {
            link.tell(message, Vec::new());
        }
    }
}

/// Somebody at a container's terminal.
struct Seat {
    link: Weak<Link>,
    container: String,
}

#[async_trait]
impl Process for Seat {
    async fn exited(&self) -> io::Result<i32> {
        // Its end is heard by the end of the output, and is the pod's matter.
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn resize(&self, TerminalSize { width, height }: TerminalSize) {
        if let Some(link) = self.link.upgrade() {
            link.tell(&ToSandbox::Resize { container: self.container.clone(), width, height }, Vec::new());
        }
    }
}

impl Drop for Remote {
    /// Nobody needs its end any longer.
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            let _kept_longer_where_full = link.try_tell(&ToSandbox::Forget { container: self.id.clone() }, Vec::new());
        }
    }
}

#[async_trait]
impl Container for Remote {
    async fn exited(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| exit.clone());
        let lost = || Exit { code: KILLED_CODE, reason: ExitReason::SandboxChanged, message: String::new() };
        ended.ok().flatten().unwrap_or_else(lost)
    }

    fn stop(&self) {
        self.tell(&ToSandbox::Stop { container: self.id.clone() });
    }

    fn kill(&self) {
        if let Some(link) = self.link.upgrade() {
            link.kill(&self.id);
        }
    }

    fn stdin(&self, once: bool) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        let link = self.link.upgrade()?;
        let (ours, theirs) = wherry_vnet::socket_pair().ok()?;
        let stdin = UnixStream::from_std(ours.into()).ok()?;
        link.tell(&ToSandbox::Input { container: self.id.clone(), once }, vec![theirs]);
        Some(Box::pin(stdin))
    }

    async fn attach(&self, AttachSpec { stdin, tty }: AttachSpec) -> Result<Attached, ExecError> {
        if !tty {
            return Err(ExecError::Unsupported("the container has no terminal".to_owned()));
        }
        let failed = |error: io::Error| ExecError::Failed(format!("the container's terminal: {error}"));
        let link = self.link.upgrade().ok_or_else(|| ExecError::Failed("the container has ended".to_owned()))?;
        let (ours, theirs) = wherry_vnet::socket_pair().map_err(failed)?;
        let (shown, typed) = UnixStream::from_std(ours.into()).map_err(failed)?.into_split();
        link.tell(&ToSandbox::Attach { container: self.id.clone(), stdin }, vec![theirs]);
        let output = ReaderStream::new(shown).map(|chunk| chunk.map(|chunk| (StdStream::Out, chunk))).boxed();
        let process = Arc::new(Seat { link: self.link.clone(), container: self.id.clone() });
        Ok(Attached { stdin: stdin.then(|| Box::pin(typed) as _), output, process })
    }

    fn usage(&self) -> Usage {
        self.measured().0
    }

    fn measured(&self) -> (Usage, Instant) {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.cpu_of_one();
        self.cpu_nanos.fetch_max(own.unwrap_or_default(), Ordering::Relaxed);
        let usage = Usage {
            cpu_nanos: self.cpu_nanos.load(Ordering::Relaxed),
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
        };
        (usage, if own.is_some() { Instant::now() } else { told })
    }
}
