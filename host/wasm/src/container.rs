//! A running container, whatever its module is: its end, its stop, its use of CPU and memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::io::AsyncWrite;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wherry_runtime::{
    AttachSpec, Attached, Container, ContainerSpec, ExecError, Exit, ExitReason, Staged, TerminalSize, Usage,
};

use crate::limits::{Memory, OomKilled};
use crate::stdin::Input;
use crate::terminal::Tty;
use crate::throttle::Cpu;

/// The exit code of a trap: as of a process that aborts.
const TRAP_CODE: i32 = 134;
const KILLED_CODE: i32 = 137;
/// How much of a trap's text goes into a container's status.
const MESSAGE_CHARS_MAX: usize = 1024;

/// A container's handle.
pub(crate) struct Running {
    exited: watch::Receiver<Option<Exit>>,
    is_killed: Arc<AtomicBool>,
    stopping: CancellationToken,
    task: AbortHandle,
    resources: Resources,
}

/// Tells a container's end once its guest is no more: where it did not end by itself, when it has yielded and was dropped.
struct Told {
    ended: watch::Sender<Option<Exit>>,
    is_killed: Arc<AtomicBool>,
    exit: Option<Exit>,
}

impl Told {
    fn end(mut self, exit: Exit) {
        self.exit = Some(exit);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // A guest that still sees its stop cannot pass its kill off as an end of its own.
        let own = self.exit.take().filter(|_| !self.is_killed.load(Ordering::SeqCst));
        self.ended.send_replace(Some(own.unwrap_or_else(killed)));
    }
}

/// What a container's instances share, and are accounted on.
#[derive(Clone)]
pub(crate) struct Resources {
    pub(crate) memory: Arc<Memory>,
    pub(crate) cpu: Arc<Cpu>,
    /// What is typed for them; `None`: nothing.
    pub(crate) input: Option<Arc<Input>>,
    pub(crate) terminal: Option<Arc<Tty>>,
    pub(crate) _files: Arc<Staged>,
}

impl Running {
    /// Runs `guest` to its end on the guests' threads; `stopping` is how it learns of a stop.
    pub(crate) fn spawn(
        handle: &Handle,
        resources: Resources,
        stopping: CancellationToken,
        guest: impl Future<Output = Exit> + Send + 'static,
    ) -> Arc<Self> {
        let (ended, exited) = watch::channel(None);
        let is_killed = Arc::new(AtomicBool::new(false));
        let told = Told { ended, is_killed: Arc::clone(&is_killed), exit: None };
        // Not one task for both: what a guest takes is small where it has no terminal.
        let task = match resources.terminal.clone() {
            None => handle.spawn(async move { told.end(guest.await) }),
            Some(terminal) => handle.spawn(async move { told.end(terminal.serve(guest).await) }),
        };
        Arc::new(Self { exited, is_killed, stopping, task: task.abort_handle(), resources })
    }
}

#[async_trait]
impl Container for Running {
    async fn exited(&self) -> Exit {
        let mut exited = self.exited.clone();
        let exit = exited.wait_for(Option::is_some).await.map(|exit| exit.clone());
        exit.ok().flatten().unwrap_or_else(killed)
    }

    fn stop(&self) {
        self.stopping.cancel();
    }

    fn kill(&self) {
        self.is_killed.store(true, Ordering::SeqCst);
        self.task.abort();
        self.stopping.cancel();
    }

    fn stdin(&self, once: bool) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        match &self.resources.terminal {
            Some(terminal) => terminal.typing(once),
            None => Some(Box::pin(self.resources.input.as_ref()?.writer(once)?)),
        }
    }

    fn resize(&self, size: TerminalSize) {
        self.resources.terminal.iter().for_each(|terminal| terminal.set_size(size));
    }

    async fn attach(&self, spec: AttachSpec) -> Result<Attached, ExecError> {
        match &self.resources.terminal {
            Some(terminal) if spec.tty => Ok(terminal.attach(spec)),
            _ => Err(ExecError::Unsupported("the container has no terminal".to_owned())),
        }
    }

    fn usage(&self) -> Usage {
        Usage { cpu_nanos: self.resources.cpu.used_nanos(), memory_bytes: self.resources.memory.used() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A guest that ended by itself with this code.
pub(crate) fn exited(code: i32) -> Exit {
    let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
    Exit { code, reason, message: String::new() }
}

/// The end that an error of the runtime means.
pub(crate) fn failed(spec: &ContainerSpec, error: &wasmtime::Error) -> Exit {
    if let Some(wasmtime_wasi::I32Exit(code)) = error.downcast_ref() {
        return exited(*code);
    }
    if let Some(oom) = error.downcast_ref::<OomKilled>() {
        return Exit { code: KILLED_CODE, reason: ExitReason::OomKilled, message: oom.to_string() };
    }
    // What happened goes before where: a backtrace can be longer than what is kept of the text.
    let told: Vec<String> = error.chain().map(ToString::to_string).collect();
    let text = told.iter().rev().fold(String::new(), |text, part| text + part.trim_end() + "\n");
    spec.logs.write(wherry_runtime::StdStream::Err, text.as_bytes());
    Exit { code: TRAP_CODE, reason: ExitReason::Error, message: text.chars().take(MESSAGE_CHARS_MAX).collect() }
}

fn killed() -> Exit {
    Exit { code: KILLED_CODE, reason: ExitReason::Error, message: String::new() }
}
