//! One task that follows the engine: whether it answers, and which of the node's containers have ended.
//!
//! The engine's events tell of ends at once. What happened while nobody listened, a list tells: after each connection.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, EventMessage};
use bollard::query_parameters::EventsOptions;
use futures::StreamExt;
use tokio::sync::oneshot;
use wherry_base::Backoff;

use crate::container::remove;
use crate::engine::{ASK_MAX, Connected, EngineError, within};
use crate::inner::Inner;
use crate::survivors::told;

/// A container has ended, or is gone: Docker's words, and Podman's, which tells of `died` as `die`.
const ENDS: [&str; 4] = ["die", "destroy", "died", "remove"];
/// How often the engine is asked whether it is well.
const PING_PERIOD: Duration = Duration::from_secs(5);
/// The first and the longest wait before the engine is looked for again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// How far back the events of a new connection go, in seconds: the clocks count whole ones.
const EVENTS_BEFORE_SECS: i64 = 2;

/// Follows the engine until the drain. `begun` is told when it was looked for once, and all that was left in it is known.
pub async fn follow(inner: Arc<Inner>, begun: oneshot::Sender<()>) {
    let mut begun = Some(begun);
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let (connected, what) = match begin(&inner).await {
            Ok(found) => found,
            Err(error) => {
                inner.engine.lost(&error);
                if begun.take().is_some() && error.is_of_no_engine() {
                    inner.nothing_is_left();
                }
                tokio::time::sleep(backoff.fail()).await;
                continue;
            }
        };
        tracing::info!(engine = %what, socket = %connected.socket.display(), "the container engine answers");
        inner.engine.ready(what);
        drop(begun.take());
        backoff.reset();
        let error = listen(&inner, &connected).await;
        tracing::warn!(%error, "the container engine is lost; its containers are not followed");
        inner.engine.lost(&error);
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// Connects; the first time what is left is learnt.
async fn begin(inner: &Arc<Inner>) -> Result<(Connected, String), EngineError> {
    let found = inner.engine.connect().await?;
    if !rustix::process::geteuid().is_root() {
        return Err(EngineError::NotRoot);
    }
    inner.survey().await?;
    Ok(found)
}

/// Hears of ends until the connection breaks or the engine hangs; gives why.
async fn listen(inner: &Arc<Inner>, engine: &Connected) -> EngineError {
    let since = inner.clock.now().as_second() - EVENTS_BEFORE_SECS;
    let mut filters = inner.filters();
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert("event".to_owned(), ENDS.map(str::to_owned).to_vec());
    let options = EventsOptions { since: Some(since.to_string()), filters: Some(filters), ..EventsOptions::default() };
    let mut events = std::pin::pin!(engine.api.events(Some(options)));
    if let Err(error) = inner.reconcile().await {
        return error;
    }
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => hear(inner, &event),
                Some(Err(error)) => return error.into(),
                None => return EngineError::Silent("it has closed the stream of its events".to_owned()),
            },
            () = tokio::time::sleep(PING_PERIOD) => {
                if let Err(error) = within(ASK_MAX, engine.api.ping()).await {
                    return error;
                }
            }
        }
    }
}

/// A container has ended, or is gone.
fn hear(inner: &Arc<Inner>, event: &EventMessage) {
    let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
    let Some(name) = attributes.and_then(|all| all.get("name")) else { return };
    if let Some(container) = inner.container(name) {
        inner.drain.spawn(container.settle());
    } else if let Some(uid) = inner.pods.holder_of(name) {
        let (inner, name) = (Arc::clone(inner), name.clone());
        inner.drain.clone().spawn(async move { inner.sandbox_lost(&uid, &name).await });
    }
}

impl Inner {
    /// Brings what is known in line with what the engine has: ends that were missed, and what nobody knows.
    pub async fn reconcile(self: &Arc<Self>) -> Result<(), EngineError> {
        // What is made from here on is not in the list, and no end of it was missed.
        let mut known: Vec<_> = self.containers().values().filter_map(Weak::upgrade).collect();
        // Not while the table is locked: whoever drops the last one takes it out of there.
        known.retain(|container| container.is_started());
        self.pods.forget_empty();
        let sandboxes = self.pods.sandboxes();
        let may_remove = self.settled.is_cancelled();
        let listed: HashMap<String, bool> =
            self.list().await?.iter().filter_map(|summary| Some((told(summary)?.0, is_alive(summary)))).collect();
        let runs = |name: &str| listed.get(name).copied().unwrap_or_default();
        for container in known.into_iter().filter(|container| !runs(&container.name)) {
            self.drain.spawn(container.settle());
        }
        for (uid, name) in sandboxes.into_iter().filter(|(_, name)| !runs(name)) {
            self.sandbox_lost(&uid, &name).await;
        }
        if may_remove {
            let is_orphan = |name: &&String| self.container(name).is_none() && self.pods.holder_of(name).is_none();
            let orphans: Vec<_> = listed.keys().filter(is_orphan).cloned().collect();
            for name in orphans {
                tracing::info!(name, "a container that belongs to no pod is removed");
                remove(self, &name).await;
            }
        }
        Ok(())
    }
}

fn is_alive(summary: &ContainerSummary) -> bool {
    use ContainerSummaryStateEnum::{PAUSED, RESTARTING, RUNNING};
    matches!(summary.state, Some(PAUSED | RESTARTING | RUNNING))
}
