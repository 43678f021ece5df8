//! Tasks with an owner and an end: a `Trigger` that its owner pulls once, `Drain`s that the tasks hold.
//!
//! Every task is spawned through a `Drain`, so that whoever pulls the trigger can also wait until all have ended.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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

    /// Runs `task` until it ends by itself or the owner drains, at which point it is dropped.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Runs `task`, which watches `ended` itself because it has something to finish.
    pub fn spawn_graceful<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }
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
}
