//! The sandbox containers of pods: each holds a pod's network namespace open, which the pod's containers join and the pod
//! network is bridged into. It is made with the pod's first container here, and goes with the pod's network.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptions};
use bollard::{Docker, body_full};
use futures::TryStreamExt;
use wherry_base::Backoff;
use wherry_podnet::PodNet;
use wherry_runtime::{Container, ContainerSpec, PodRef, StartError};
use wherry_vnet::Namespace;

use crate::container::remove;
use crate::create as wanted;
use crate::engine::{CHANGE_MAX, EngineError, within};
use crate::inner::{Inner, container_name, locked, name_of};
use crate::labels::{Identity, Role};
use crate::pause;

/// How often the removal of a pod is tried: what is left then goes when the engine comes back, or with the node's next start.
const REMOVALS_MAX: u32 = 8;
/// The first and the longest wait between two of them.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The pods that have something in the engine, by uid.
#[derive(Default)]
pub struct Pods(Mutex<HashMap<String, Arc<Pod>>>);

/// A pod in the engine.
#[derive(Default)]
pub struct Pod {
    sandbox: Mutex<Option<Sandbox>>,
    /// Held by the one who makes a sandbox.
    making: tokio::sync::Mutex<()>,
}

/// A sandbox container, and the bridge into its network.
struct Sandbox {
    name: String,
    net: Option<Arc<PodNet>>,
}

impl Pods {
    fn of(&self, uid: &str) -> Arc<Pod> {
        Arc::clone(locked(&self.0).entry(uid.to_owned()).or_default())
    }

    /// The pod whose sandbox has this name, by its uid.
    pub fn holder_of(&self, name: &str) -> Option<String> {
        let pods = locked(&self.0);
        let found = pods.iter().find(|(_, pod)| pod.sandbox_name().as_deref() == Some(name));
        found.map(|(uid, _)| uid.clone())
    }

    /// The names of all sandboxes that run, by the uids of their pods.
    pub fn sandboxes(&self) -> Vec<(String, String)> {
        let pods = locked(&self.0);
        let joined = |pod: &Arc<Pod>| locked(&pod.sandbox).as_ref().is_some_and(|sandbox| sandbox.net.is_some());
        let all = pods.iter().filter(|(_, pod)| joined(pod));
        all.filter_map(|(uid, pod)| Some((uid.clone(), pod.sandbox_name()?))).collect()
    }

    /// Pods that have no sandbox, and for which none is being made.
    pub fn forget_empty(&self) {
        locked(&self.0).retain(|_, pod| pod.sandbox_name().is_some() || Arc::strong_count(pod) > 1);
    }
}

impl Pod {
    fn sandbox_name(&self) -> Option<String> {
        locked(&self.sandbox).as_ref().map(|sandbox| sandbox.name.clone())
    }

    fn hold(&self, name: &str, net: Option<Arc<PodNet>>) {
        let before = locked(&self.sandbox).replace(Sandbox { name: name.to_owned(), net });
        drop(before);
    }
}

impl Inner {
    /// The name of the pod's sandbox, which runs: the one that there is, or a new one.
    pub async fn sandbox(self: &Arc<Self>, spec: &ContainerSpec) -> Result<String, EngineError> {
        let pod = self.pods.of(&spec.pod.uid);
        let _alone = pod.making.lock().await;
        if let Some(name) = pod.sandbox_name() {
            match self.inspect(&name).await {
                Ok(found) if pid_of(&found).is_some() => return Ok(name),
                Ok(_) | Err(EngineError::NotFound(_)) => self.sandbox_lost(&spec.pod.uid, &name).await,
                Err(error) => return Err(error),
            }
        }
        let name = container_name(&spec.pod, "sandbox", &spec.id);
        // From here on it is known, so that it is nobody's orphan.
        pod.hold(&name, None);
        let made = self.make(&name, spec).await.and_then(|pid| self.bridge(&spec.pod, &name, pid, &spec.network));
        match made {
            Ok(net) => {
                pod.hold(&name, Some(net));
                Ok(name)
            }
            Err(error) => {
                let _gone = locked(&pod.sandbox).take();
                remove(self, &name).await;
                Err(error)
            }
        }
    }

    /// Makes and starts a sandbox container; gives its process.
    async fn make(&self, name: &str, spec: &ContainerSpec) -> Result<i32, EngineError> {
        let engine = self.engine.get()?;
        let body = wanted::sandbox(spec, &self.owner);
        match create(&engine.api, name, body.clone()).await {
            Err(EngineError::NotFound(_)) => {
                import(&engine.api).await?;
                create(&engine.api, name, body).await?;
            }
            created => created?,
        }
        let found = self.begin(name).await?;
        pid_of(&found).ok_or_else(|| EngineError::Refused("the pod's sandbox has ended at once".to_owned()))
    }

    /// Joins the network namespace of a process to the pod's network, for as long as that is open.
    fn bridge(
        self: &Arc<Self>,
        pod: &PodRef,
        name: &str,
        pid: i32,
        network: &Arc<Namespace>,
    ) -> Result<Arc<PodNet>, EngineError> {
        let (inner, uid, name) = (Arc::clone(self), pod.uid.clone(), name.to_owned());
        let on_close = Box::new(move || inner.closed(uid, name));
        let _on_its_threads = self.threads.enter();
        let config = wherry_podnet::Config { dns: self.resolver.address, on_close };
        let opened = File::open(format!("/proc/{pid}/ns/net"))
            .and_then(|netns| wherry_podnet::open(netns.into(), network, config, &self.drain));
        opened.map_err(|error| {
            EngineError::Refused(format!("the pod's network cannot be bridged into its sandbox: {error}"))
        })
    }

    /// The pod's network is closed: the pod is over.
    fn closed(self: Arc<Self>, uid: String, name: String) {
        if self.pods.holder_of(&name).is_none_or(|holder| holder != uid) {
            return;
        }
        let _over = locked(&self.pods.0).remove(&uid);
        let inner = Arc::clone(&self);
        self.drain.spawn_graceful(async move { inner.remove_pod(&uid).await });
    }

    /// Takes over the sandbox of a pod that has survived, and runs as `pid`. False: it is of no use any more.
    pub fn adopt_sandbox(self: &Arc<Self>, pod: &PodRef, name: &str, pid: i32, network: &Arc<Namespace>) -> bool {
        let held = self.pods.of(&pod.uid);
        if held.sandbox_name().is_some_and(|known| known == name) {
            return true;
        }
        match self.bridge(pod, name, pid, network) {
            Ok(net) => {
                held.hold(name, Some(net));
                true
            }
            Err(error) => {
                tracing::warn!(pod = %pod.name, %error, "a pod's sandbox cannot be taken over; its containers start anew");
                false
            }
        }
    }

    /// A sandbox has ended, or was removed: what shared its namespaces is ended, and starts anew with the next one.
    pub async fn sandbox_lost(self: &Arc<Self>, uid: &str, name: &str) {
        let pod = self.pods.of(uid);
        let gone = locked(&pod.sandbox).take_if(|sandbox| sandbox.name == name);
        if gone.is_none() {
            return;
        }
        drop(gone);
        let all: Vec<_> = self.containers().values().filter_map(std::sync::Weak::upgrade).collect();
        all.iter().filter(|container| container.pod == uid).for_each(|container| container.kill());
        remove(self, name).await;
    }

    /// Removes all that a pod has in the engine: what has joined the sandbox first, for Podman refuses the other order.
    async fn remove_pod(&self, uid: &str) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        for _ in 0..REMOVALS_MAX {
            if self.try_remove_pod(uid).await {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.fail()) => {}
                () = self.drain.ended() => {}
            }
        }
        tracing::warn!(uid, "a pod's containers are still in the container engine; they go when it answers again");
    }

    /// True: nothing is left.
    async fn try_remove_pod(&self, uid: &str) -> bool {
        let Ok(listed) = self.list().await else { return false };
        let of_pod = listed.iter().filter_map(|summary| {
            let identity = Identity::read(summary.labels.as_ref()?)?;
            (identity.pod.uid == uid).then_some((name_of(summary)?, identity.role == Role::Sandbox))
        });
        let (sandboxes, members): (Vec<_>, Vec<_>) = of_pod.partition(|(_, is_sandbox)| *is_sandbox);
        let mut is_gone = true;
        for (name, _) in members.into_iter().chain(sandboxes) {
            is_gone &= remove(self, name).await;
        }
        is_gone
    }
}

/// Makes a container of that name.
pub async fn create(api: &Docker, name: &str, body: ContainerCreateBody) -> Result<(), EngineError> {
    let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
    within(CHANGE_MAX, api.create_container(Some(options), body)).await.map(drop)
}

/// Makes the image of sandboxes in the engine.
async fn import(api: &Docker) -> Result<(), EngineError> {
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        // With its tag: Podman heeds no other.
        repo: Some(pause::IMAGE.to_owned()),
        ..CreateImageOptions::default()
    };
    let made = api.create_image(Some(options), Some(body_full(pause::layer())), None);
    within(CHANGE_MAX, made.try_for_each(|_| std::future::ready(Ok(())))).await
}

/// The process of a container that runs.
pub fn pid_of(found: &ContainerInspectResponse) -> Option<i32> {
    let state = found.state.as_ref().filter(|state| state.running == Some(true))?;
    state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)
}

/// A `StartError` of what the engine, or the pod's network there, did not do; the `reason` is for what it refuses.
pub fn failed(reason: &'static str, error: &EngineError) -> StartError {
    let reason = match error {
        EngineError::Absent(_) | EngineError::Silent(_) | EngineError::NotRoot => "ContainerCreating",
        EngineError::NotFound(_) | EngineError::Refused(_) | EngineError::Stalled(_) => reason,
    };
    StartError { reason, message: error.to_string() }
}
