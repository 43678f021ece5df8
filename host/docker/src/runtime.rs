//! The agent's runtime whose containers run in the engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::ContainerInspectResponse;
use tokio::sync::{oneshot, watch};
use wherry_base::Drain;
use wherry_runtime::{
    Adoption, Availability, Container, ContainerSpec, Image, ImageError, ImageRequest, PodRef, Runtime, StartError,
    Survivor,
};

use crate::NAME;
use crate::container::DockerContainer;
use crate::create as wanted;
use crate::engine::{EngineError, within};
use crate::follow;
use crate::inner::{DockerConfig, Inner, container_name};
use crate::logs;
use crate::names;
use crate::sandbox::{create, failed, pid_of};

/// How long the node's start waits for the engine to tell what an earlier process has left there: what it tells later, of pods
/// that wait for it, is heard too.
const BEGIN_PATIENCE: Duration = Duration::from_secs(5);
/// The user of a process that may do everything.
const ROOT: [&str; 3] = ["", "0", "root"];

/// Runs Linux images as containers of the node's engine.
pub struct DockerRuntime(Arc<Inner>);

impl DockerRuntime {
    /// Looks for the engine, and follows it until the drain, whether it is there or not.
    pub async fn open(config: DockerConfig, drain: &Drain) -> Arc<Self> {
        let inner = Inner::new(config, drain.clone());
        let (begun, when_begun) = oneshot::channel();
        drain.vital().spawn(follow::follow(Arc::clone(&inner), begun));
        if tokio::time::timeout(BEGIN_PATIENCE, when_begun).await.is_err() {
            inner.engine.overdue();
        }
        Arc::new(Self(inner))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    async fn try_start(&self, mut spec: ContainerSpec) -> Result<Arc<DockerContainer>, StartError> {
        let inner = &self.0;
        let engine = inner.engine.get().map_err(|error| failed("ContainerCreating", &error))?;
        let sandbox = inner.sandbox(&spec).await.map_err(|error| failed("ContainerCreating", &error))?;
        if spec.security.is_never_root && spec.security.user.is_none_or(|user| user == 0) {
            self.refuse_root(&spec).await?;
        }
        let names = names::files(&inner.pods_directory, &spec, &inner.resolver);
        spec.mounts.extend(names.map_err(|error| StartError {
            reason: "CreateContainerError",
            message: format!("the pod's hosts and resolv.conf: {error}"),
        })?);
        let body = wanted::member(&spec, &sandbox, &inner.owner, engine.kind)?;
        let name = container_name(&spec.pod, &spec.name, &spec.id);
        // From here on it is known; where the start fails it is dropped, and so removed.
        let container = DockerContainer::new(inner, &spec.pod, name.clone(), Arc::clone(&spec.logs));
        create(&engine.api, &name, body).await.map_err(|error| failed("CreateContainerError", &error))?;
        let found = inner.begin(&name).await.map_err(|error| failed("RunContainerError", &error))?;
        self.began(&container, &found);
        Ok(container)
    }

    /// It runs, or has ended already.
    fn began(&self, container: &Arc<DockerContainer>, found: &ContainerInspectResponse) {
        container.runs(pid_of(found), found.config.as_ref());
        self.0.drain.spawn(logs::follow(Arc::clone(&self.0), Arc::downgrade(container), None));
        if pid_of(found).is_none() {
            self.0.drain.spawn(Arc::clone(container).settle());
        }
    }

    /// `runAsNonRoot`, where the pod names no other user: what the image says.
    async fn refuse_root(&self, spec: &ContainerSpec) -> Result<(), StartError> {
        let user = match spec.security.user {
            Some(_) => String::new(),
            None => self
                .0
                .user_of(&spec.image.digest)
                .await
                .map_err(|error| failed("CreateContainerConfigError", &error))?,
        };
        let name = user.split(':').next().unwrap_or_default();
        if !ROOT.contains(&name) {
            return Ok(());
        }
        let message = format!(
            "container has runAsNonRoot and would run as root: name a runAsUser, or an image with another user than \"{user}\""
        );
        Err(StartError { reason: "CreateContainerConfigError", message })
    }
}

impl Inner {
    /// The user that an image names.
    async fn user_of(&self, digest: &str) -> Result<String, EngineError> {
        let engine = self.engine.get()?;
        let found = within(crate::engine::ASK_MAX, engine.api.inspect_image(digest)).await?;
        Ok(found.config.and_then(|config| config.user).unwrap_or_default())
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn availability(&self) -> Option<watch::Receiver<Availability>> {
        Some(self.0.engine.availability())
    }

    fn has_root(&self) -> bool {
        true
    }

    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        self.0.prepare(wanted).await
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        Ok(self.try_start(spec).await?)
    }

    fn survivors(&self, pod: &PodRef, _: &[PathBuf]) -> Vec<Survivor> {
        self.0.survivors(pod)
    }

    fn adopt(&self, survivor: &Survivor, adoption: Adoption) -> Option<Arc<dyn Container>> {
        self.0.adopt(survivor, adoption)
    }

    fn end_survivors(&self) {
        self.0.end_survivors();
    }
}
