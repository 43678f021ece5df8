//! What an earlier process of the node has left in the engine: found by its labels, taken over by the agent, or removed.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerSummary};
use jiff::Timestamp;
use wherry_runtime::{Adoption, Container, PodRef, Survivor};

use crate::NAME;
use crate::container::{DockerContainer, exit_of};
use crate::engine::EngineError;
use crate::inner::{Inner, locked, name_of};
use crate::labels::{Identity, Member, Role};
use crate::logs;
use crate::sandbox::pid_of;

/// What is left.
#[derive(Default)]
pub struct Left {
    /// The containers, by their own ids.
    containers: HashMap<String, LeftContainer>,
    /// The sandboxes that run, by the uids of their pods: name and process.
    sandboxes: HashMap<String, (String, i32)>,
}

#[derive(Clone)]
struct LeftContainer {
    survivor: Survivor,
    tty: bool,
    pid: Option<i32>,
    stop_signal: Option<String>,
}

impl Inner {
    /// Learns what is left.
    pub async fn survey(&self) -> Result<(), EngineError> {
        let mut left = Left::default();
        for summary in self.list().await? {
            let Some((name, identity)) = told(&summary) else { continue };
            match self.inspect(&name).await {
                Ok(found) => left.add(name, identity, &found),
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        *locked(&self.left) = left;
        Ok(())
    }

    /// What there is of a pod and was not taken over yet.
    pub fn survivors(&self, pod: &PodRef) -> Vec<Survivor> {
        let left = locked(&self.left);
        let of_pod = left.containers.values().filter(|left| left.survivor.pod == *pod);
        of_pod.map(|left| left.survivor.clone()).collect()
    }

    /// Takes a container over. One whose sandbox is gone is killed, and starts anew with the pod's next one.
    pub fn adopt(self: &Arc<Self>, survivor: &Survivor, adoption: Adoption) -> Option<Arc<dyn Container>> {
        let mut held = locked(&self.left);
        let left = held.containers.remove(&survivor.id)?;
        let sandbox = held.sandboxes.get(&survivor.pod.uid).cloned();
        drop(held);
        let name = left.survivor.place.clone();
        let is_joined =
            sandbox.is_some_and(|(name, pid)| self.adopt_sandbox(&survivor.pod, &name, pid, &adoption.network));
        let last = adoption.logs.last();
        let container = DockerContainer::new(self, &survivor.pod, name, adoption.logs, left.tty);
        self.drain.spawn(logs::follow(Arc::clone(self), Arc::downgrade(&container), last));
        container.runs(left.pid, left.stop_signal);
        match left.pid {
            Some(_) if is_joined => {}
            Some(_) => container.kill(),
            None => self.drain.spawn(Arc::clone(&container).settle()),
        }
        Some(container)
    }

    /// All pods of the node are known: what was not taken over is removed.
    pub fn end_survivors(self: &Arc<Self>) {
        *locked(&self.left) = Left::default();
        self.settled.cancel();
        let inner = Arc::clone(self);
        self.drain.spawn(async move {
            if let Err(error) = inner.reconcile().await {
                tracing::debug!(%error, "orphans are removed when the container engine answers");
            }
        });
    }
}

impl Left {
    fn add(&mut self, name: String, identity: Identity, found: &ContainerInspectResponse) {
        let pid = pid_of(found);
        let Identity { pod, address, role } = identity;
        let Role::Container(member) = role else {
            self.sandboxes.extend(pid.map(|pid| (pod.uid, (name, pid))));
            return;
        };
        let state = found.state.clone().unwrap_or_default();
        // One that was made and not started, or whose start was cut off, is none.
        let Some(since) = since(&state) else { return };
        let Member { id, name: container, run, reference, digest } = *member;
        let survivor = Survivor {
            id: id.clone(),
            pod,
            address,
            name: container,
            run,
            reference,
            digest,
            since,
            exit: pid.is_none().then(|| exit_of(&state)),
            runtime: NAME,
            place: name,
        };
        let config = found.config.as_ref();
        let tty = config.is_some_and(|config| config.tty == Some(true));
        let stop_signal = config.and_then(|config| config.stop_signal.clone());
        self.containers.insert(id, LeftContainer { survivor, tty, pid, stop_signal });
    }
}

/// Since when a container runs, or ran; `None`: it was not started.
pub fn since(state: &ContainerState) -> Option<Timestamp> {
    let started: Timestamp = state.started_at.as_ref()?.parse().ok()?;
    (started.as_second() > 0).then_some(started)
}

/// A container's name and what its labels tell.
pub fn told(summary: &ContainerSummary) -> Option<(String, Identity)> {
    Some((name_of(summary)?.to_owned(), Identity::read(summary.labels.as_ref()?)?))
}
