//! What an earlier process of the node has left in the engine: found by its labels, taken over by the agent, or removed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bollard::models::{ContainerConfig, ContainerInspectResponse, ContainerState, ContainerSummary};
use jiff::Timestamp;
use wherry_runtime::{Adoption, Container, PodRef, Survivor};
use wherry_vnet::Namespace;

use crate::NAME;
use crate::container::{DockerContainer, exit_of};
use crate::engine::EngineError;
use crate::inner::{Inner, container_name, locked, name_of};
use crate::labels::{Identity, Member, Role};
use crate::logs;
use crate::sandbox::pid_of;

/// What is left.
#[derive(Default)]
pub struct Left {
    /// The engine has told, or there is none.
    is_told: bool,
    /// The containers, by their own ids.
    containers: HashMap<String, LeftContainer>,
    /// The sandboxes that run, by the uids of their pods: name and process.
    sandboxes: HashMap<String, (String, i32)>,
    /// What was taken over on the agent's word, while the engine did not tell.
    awaited: Vec<Awaited>,
}

struct LeftContainer {
    survivor: Survivor,
    pid: Option<i32>,
    config: Option<ContainerConfig>,
}

/// A container that is left, with its pod's sandbox.
struct Found {
    left: LeftContainer,
    sandbox: Option<(String, i32)>,
}

struct Awaited {
    container: Weak<DockerContainer>,
    id: String,
    network: Arc<Namespace>,
}

impl Inner {
    /// Learns what is left, once; what was awaited is joined then, or found to be gone.
    pub async fn survey(self: &Arc<Self>) -> Result<(), EngineError> {
        if locked(&self.left).is_told {
            return Ok(());
        }
        let mut left = Left { is_told: true, ..Left::default() };
        for summary in self.list().await? {
            let Some((name, identity)) = told(&summary) else { continue };
            match self.inspect(&name).await {
                Ok(found) => left.add(name, identity, &found),
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for (Awaited { container, network, .. }, found) in locked(&self.left).tell(left) {
            match (container.upgrade(), found) {
                (Some(container), Some(found)) => self.join(&container, &found, &network),
                (Some(container), None) => self.gone(container),
                (None, _) => {}
            }
        }
        if self.settled.is_cancelled() {
            self.nothing_is_left();
        }
        Ok(())
    }

    /// Nobody takes anything over any more, or there is no engine that could have anything.
    pub fn nothing_is_left(&self) {
        let mut left = locked(&self.left);
        *left = Left { is_told: true, awaited: std::mem::take(&mut left.awaited), ..Left::default() };
    }

    /// What there is of a pod and was not taken over yet.
    pub fn survivors(&self, pod: &PodRef) -> Vec<Survivor> {
        let left = locked(&self.left);
        let of_pod = left.containers.values().filter(|left| left.survivor.pod == *pod);
        of_pod.map(|left| left.survivor.clone()).collect()
    }

    /// Takes a container over: at once, or when the engine tells of it.
    pub fn adopt(self: &Arc<Self>, survivor: &Survivor, adoption: Adoption) -> Option<Arc<dyn Container>> {
        let name = container_name(&survivor.pod, &survivor.name, &survivor.id);
        let make = || DockerContainer::new(self, &survivor.pod, name, adoption.logs);
        let mut left = locked(&self.left);
        if !left.is_told && !self.settled.is_cancelled() {
            let (container, id) = (make(), survivor.id.clone());
            left.awaited.push(Awaited { container: Arc::downgrade(&container), id, network: adoption.network });
            return Some(container);
        }
        let found = left.take(&survivor.id)?;
        drop(left);
        let container = make();
        self.join(&container, &found, &adoption.network);
        Some(container)
    }

    /// One whose sandbox is gone is killed, and starts anew with the pod's next one.
    fn join(self: &Arc<Self>, container: &Arc<DockerContainer>, found: &Found, network: &Arc<Namespace>) {
        let Found { left, sandbox } = found;
        let adopt = |(name, pid): &(String, i32)| self.adopt_sandbox(&left.survivor.pod, name, *pid, network);
        let is_joined = sandbox.as_ref().is_some_and(adopt);
        container.runs(left.pid, left.config.as_ref());
        self.drain.spawn(logs::follow(Arc::clone(self), Arc::downgrade(container), container.logs.last()));
        match left.pid {
            Some(_) if is_joined => {}
            Some(_) => container.kill(),
            None => self.drain.spawn(Arc::clone(container).settle()),
        }
    }

    /// The engine does not have it.
    fn gone(&self, container: Arc<DockerContainer>) {
        container.runs(None, None);
        self.drain.spawn(container.settle());
    }

    /// All pods of the node are known: what was not taken over is removed.
    pub fn end_survivors(self: &Arc<Self>) {
        self.settled.cancel();
        if locked(&self.left).is_told {
            self.nothing_is_left();
        }
        let inner = Arc::clone(self);
        self.drain.spawn(async move {
            if let Err(error) = inner.reconcile().await {
                tracing::debug!(%error, "orphans are removed when the container engine answers");
            }
        });
    }
}

impl Left {
    /// The engine tells that there is `left`; gives what was awaited, as it was found there.
    fn tell(&mut self, left: Self) -> Vec<(Awaited, Option<Found>)> {
        let awaited = std::mem::replace(self, left).awaited;
        let found = |one: Awaited| {
            let found = self.take(&one.id);
            (one, found)
        };
        awaited.into_iter().map(found).collect()
    }

    fn take(&mut self, id: &str) -> Option<Found> {
        let left = self.containers.remove(id)?;
        let sandbox = self.sandboxes.get(&left.survivor.pod.uid).cloned();
        Some(Found { left, sandbox })
    }

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
        self.containers.insert(id, LeftContainer { survivor, pid, config: found.config.clone() });
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
