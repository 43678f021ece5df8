//! Tasks with an owner and an end: a `Trigger` that its owner pulls once, `Drain`s that the tasks hold.
//!
//! Every task is spawned through a `Drain`, so that whoever pulls the trigger can also wait until all have ended.
//!
//! A task that panics is told of with the place that spawned it. One among many (a connection's, a guest's, a pod's) ends alone:
//! nobody outside ends the process by what he sends. One that is `vital` ends the process: nobody would do its work any more.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the process exits with where a vital task panicked: `EX_SOFTWARE` of sysexits(3).
const PANICKED: i32 = 70;

/// The owner's end: starts the drain and waits for the tasks.
#[derive(Debug)]
pub struct Trigger {
    drain: Drain,
}

/// A task's end: tells when to stop, and spawns further tasks under the same owner.
#[derive(Clone, Debug)]
pub struct Drain {
    token: CancellationToken,
    tasks: TaskTracker,
}

/// See [`Drain::vital`].
#[derive(Clone, Copy, Debug)]
pub struct Vital<'a>(&'a Drain);

impl Trigger {
    /// A new owner with no tasks.
    #[expect(clippy::new_without_default, reason = "an owner is made on purpose")]
    pub fn new() -> Self {
        Self { drain: Drain { token: CancellationToken::new(), tasks: TaskTracker::new() } }
    }

    /// The handle that tasks hold.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Tells all tasks to stop and waits for them, `patience` at the most. True when all have ended.
    pub async fn stop(self, patience: Duration) -> bool {
        self.drain.token.cancel();
        self.drain.tasks.close();
        tokio::time::timeout(patience, self.drain.tasks.wait()).await.is_ok()
    }
}

impl Drain {
    /// Resolves once the owner wants the tasks to end; at once ever after.
    pub async fn ended(&self) {
        self.token.cancelled().await;
    }

    /// Whether the owner wants the tasks to end.
    pub fn is_ended(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Runs `task`, one among many, until it ends by itself or the owner drains, at which point it is dropped.
    #[track_caller]
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_graceful(until(self.token.clone(), task));
    }

    /// Runs `task`, one among many, which watches `ended` itself because it has something to finish.
    #[track_caller]
    pub fn spawn_graceful<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let place = Location::caller();
        self.tasks.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(%place, panic = said(&*panic), "a task panicked, and ended alone");
            }
        });
    }

    /// For tasks without which the process is of no use.
    pub const fn vital(&self) -> Vital<'_> {
        Vital(self)
    }
}

impl Vital<'_> {
    /// As [`Drain::spawn`]; the process ends where `task` panics.
    #[track_caller]
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_graceful(until(self.0.token.clone(), task));
    }

    /// As [`Drain::spawn_graceful`]; the process ends where `task` panics.
    #[track_caller]
    pub fn spawn_graceful<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.tasks.spawn(vital(task));
    }
}

/// `task`, which ends the process where it panics: at once, as a crash would, so that no state is saved that may be wrong.
#[track_caller]
pub fn vital<F: Future>(task: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    AssertUnwindSafe(task).catch_unwind().map(move |outcome| {
        outcome.unwrap_or_else(|panic| {
            let panic = said(&*panic);
            tracing::error!(%place, panic, "a vital task panicked, which is a bug: the process ends, to be started again");
            std::process::exit(PANICKED)
        })
    })
}

async fn until(token: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = token.cancelled() => {}
        () = task => {}
    }
}

/// The words of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stops_what_it_spawned() {
        let trigger = Trigger::new();
        let drain = trigger.drain();
        drain.spawn(std::future::pending());
        let inner = drain.clone();
        drain.spawn_graceful(async move { inner.ended().await });
        assert!(trigger.stop(Duration::from_secs(5)).await);
        assert!(drain.is_ended());
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_among_many_alone() {
        let trigger = Trigger::new();
        let (ended, others) = tokio::sync::oneshot::channel();
        trigger.drain().spawn(async { panic!("of what somebody has sent") });
        trigger.drain().spawn(async { ended.send(()).unwrap() });
        others.await.unwrap();
        assert!(trigger.stop(Duration::from_secs(5)).await);
    }

    /// A process of its own, which this very test is in.
    const CHILD: &str = "WHERRY_TEST_PANICS";

    #[test]
    fn a_panic_of_a_vital_task_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            return runtime.block_on(async {
                let trigger = Trigger::new();
                trigger.drain().vital().spawn(async { panic!("a bug") });
                std::future::pending().await
            });
        }
        let name = "drain::tests::a_panic_of_a_vital_task_ends_the_process";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "").output().unwrap();
        assert_eq!(output.status.code(), Some(PANICKED), "{output:?}");
    }
}
