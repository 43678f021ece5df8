//! A container of the engine, as the agent sees it: its end, its signals, what it uses.
//!
//! What is asked of the engine runs as tasks: nobody who stops a container waits for the engine.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerConfig, ContainerState};
use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wherry_base::Backoff;
use wherry_runtime::{AttachSpec, Attached, Container, ExecError, ExecSpec, Exit, ExitReason, LogSink, PodRef, Usage};

use crate::engine::{ASK_MAX, CHANGE_MAX, EngineError, within};
use crate::exec;
use crate::inner::Inner;
use crate::usage::Cgroup;

/// The exit code of what was gone before its end could be asked for.
const LOST_CODE: i32 = 137;
/// How long the end of a container waits for the end of its output.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);
/// The first and the longest wait before something is asked of the engine again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// What Linux' programs are asked to end by, unless their image says otherwise.
const STOP_SIGNAL: &str = "SIGTERM";

/// A container of the engine.
pub struct DockerContainer {
    /// Its name there.
    pub name: String,
    /// The uid of its pod.
    pub pod: String,
    /// Where its output goes.
    pub logs: Arc<dyn LogSink>,
    /// Cancelled when all of its output is taken.
    pub logged: CancellationToken,
    inner: Arc<Inner>,
    exit: watch::Sender<Option<Exit>>,
    facts: Arc<OnceLock<Facts>>,
}

/// What is known of a container once it runs.
struct Facts {
    cgroup: Option<Cgroup>,
    stop_signal: String,
    tty: bool,
}

impl DockerContainer {
    /// One that is not started yet; from here on its end is followed.
    pub fn new(inner: &Arc<Inner>, pod: &PodRef, name: String, logs: Arc<dyn LogSink>) -> Arc<Self> {
        let container = Arc::new(Self {
            name,
            pod: pod.uid.clone(),
            logs,
            logged: CancellationToken::new(),
            inner: Arc::clone(inner),
            exit: watch::Sender::new(None),
            facts: Arc::default(),
        });
        inner.containers().insert(container.name.clone(), Arc::downgrade(&container));
        container
    }

    /// It was started, as this process, and this is what the engine tells of it.
    pub fn runs(&self, pid: Option<i32>, config: Option<&ContainerConfig>) {
        let stop_signal = config.and_then(|config| config.stop_signal.clone()).filter(|signal| !signal.is_empty());
        let _known_already = self.facts.set(Facts {
            cgroup: pid.and_then(Cgroup::of),
            stop_signal: stop_signal.unwrap_or_else(|| STOP_SIGNAL.to_owned()),
            tty: config.is_some_and(|config| config.tty == Some(true)),
        });
    }

    /// Whether its output is a terminal: known once it is started.
    pub fn has_terminal(&self) -> bool {
        self.facts.get().is_some_and(|facts| facts.tty)
    }

    /// Whether it was started: before that, one that does not run has not ended.
    pub fn is_started(&self) -> bool {
        self.facts.get().is_some()
    }

    /// Whether its end is known.
    pub fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// The engine says that it has ended, or has it no more: all of its output first, then the end.
    pub async fn settle(self: Arc<Self>) {
        let _late = tokio::time::timeout(OUTPUT_PATIENCE, self.logged.cancelled()).await;
        match self.inner.inspect(&self.name).await {
            Ok(found) => {
                let state = found.state.unwrap_or_default();
                if state.running != Some(true) {
                    self.end(exit_of(&state));
                }
            }
            Err(EngineError::NotFound(_)) => self.end(removed()),
            // It is asked again when the engine is back.
            Err(error) => tracing::debug!(name = %self.name, %error, "a container's end is not known yet"),
        }
    }

    fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|known| known.is_none() && known.replace(exit).is_none());
    }

    fn signal(&self, signal: &'static str) {
        let (inner, name, mut ended) = (Arc::clone(&self.inner), self.name.clone(), self.exit.subscribe());
        let facts = Arc::clone(&self.facts);
        self.inner.drain.spawn_graceful(async move {
            tokio::select! {
                () = send(&inner, &name, &facts, signal) => {}
                _ = ended.wait_for(Option::is_some) => {}
                () = inner.drain.ended() => {}
            }
        });
    }
}

/// Tries until the engine has taken it.
async fn send(inner: &Inner, name: &str, facts: &OnceLock<Facts>, signal: &'static str) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let sent = match (inner.engine.get(), facts.get()) {
            (Ok(engine), Some(facts)) => {
                let signal = if signal == STOP_SIGNAL { facts.stop_signal.as_str() } else { signal };
                let options = KillContainerOptions { signal: signal.to_owned() };
                within(ASK_MAX, engine.api.kill_container(name, Some(options))).await
            }
            (Ok(_), None) => Err(EngineError::Silent("it has not told of the container yet".to_owned())),
            (Err(error), _) => Err(error),
        };
        match sent {
            // It has ended, or the engine never heard of such a signal: there is nothing to try again.
            Ok(()) | Err(EngineError::NotFound(_) | EngineError::Refused(_)) => return,
            Err(error) => {
                tracing::warn!(name, signal, %error, "a signal is not sent yet");
                tokio::time::sleep(backoff.fail()).await;
            }
        }
    }
}

/// Removes a container, running or not; `false`: it is still there.
pub async fn remove(inner: &Inner, name: &str) -> bool {
    let Ok(engine) = inner.engine.get() else { return false };
    let options = RemoveContainerOptions { force: true, v: true, link: false };
    match within(CHANGE_MAX, engine.api.remove_container(name, Some(options))).await {
        Ok(()) | Err(EngineError::NotFound(_)) => true,
        Err(error) => {
            tracing::debug!(name, %error, "a container is not removed yet");
            false
        }
    }
}

/// How it ended, in the words of the engine.
pub fn exit_of(state: &ContainerState) -> Exit {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(LOST_CODE);
    let reason = match (code, state.oom_killed) {
        (0, _) => ExitReason::Completed,
        (_, Some(true)) => ExitReason::OomKilled,
        _ => ExitReason::Error,
    };
    Exit { code, reason, message: state.error.clone().unwrap_or_default() }
}

fn removed() -> Exit {
    let message = "it was removed from the container engine, not by this node".to_owned();
    Exit { code: LOST_CODE, reason: ExitReason::Error, message }
}

#[async_trait]
impl Container for DockerContainer {
    async fn exited(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| exit.clone());
        ended.ok().flatten().unwrap_or_else(removed)
    }

    fn stop(&self) {
        self.signal(STOP_SIGNAL);
    }

    fn kill(&self) {
        self.signal("SIGKILL");
    }

    fn usage(&self) -> Usage {
        let cgroup = self.facts.get().and_then(|facts| facts.cgroup.as_ref());
        cgroup.filter(|_| !self.has_ended()).map(Cgroup::usage).unwrap_or_default()
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Attached, ExecError> {
        exec::exec(&self.inner, &self.name, spec).await
    }

    async fn attach(&self, spec: AttachSpec) -> Result<Attached, ExecError> {
        let ended = self.exit.subscribe();
        exec::attach(&self.inner, &self.name, self.has_terminal(), spec, ended).await
    }
}

impl Drop for DockerContainer {
    /// Nobody needs it any longer.
    fn drop(&mut self) {
        self.inner.containers().remove(&self.name);
        let (inner, name) = (Arc::clone(&self.inner), self.name.clone());
        self.inner.drain.spawn_graceful(async move {
            // Where that fails it is an orphan, which the engine's return removes.
            let _is_gone = remove(&inner, &name).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let check = |code: i64, oom: bool, error: &str, expected: (i32, ExitReason, &str)| {
            let state = ContainerState {
                exit_code: Some(code),
                oom_killed: Some(oom),
                error: Some(error.to_owned()),
                ..ContainerState::default()
            };
            let exit = exit_of(&state);
            assert_eq!((exit.code, exit.reason, exit.message.as_str()), expected);
        };
        check(0, false, "", (0, ExitReason::Completed, ""));
        check(7, false, "", (7, ExitReason::Error, ""));
        check(137, true, "", (137, ExitReason::OomKilled, ""));
        // One of its processes was ended for want of memory; it went on, and ended well.
        check(0, true, "", (0, ExitReason::Completed, ""));
        check(127, false, "no such file", (127, ExitReason::Error, "no such file"));
        assert_eq!(exit_of(&ContainerState::default()).code, LOST_CODE);
    }
}
