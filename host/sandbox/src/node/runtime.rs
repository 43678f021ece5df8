//! The agent's runtime whose containers run in sandboxes.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;
use wherry_runtime::{
    Adoption, Compiler, Container, ContainerSpec, Image, ImageError, ImageKind, ImageRequest, Mount, PodRef, Runtime,
    StartError, Survivor, Terminal,
};

use super::container::Remote;
use super::grants;
use super::launch::Directory;
use super::link::Link;
use super::sandboxes::Sandboxes;
use crate::message::{Failure, PodPart, StartContainer, ToSandbox};

/// What the name of a sandbox begins with that is a pod's own.
pub(crate) const POD_PREFIX: &str = "pod-";

/// Which pods share a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Those of a namespace.
    Namespace,
    /// None.
    Pod,
}

/// What a runtime of sandboxes is made of; several may share the sandboxes.
pub struct RuntimeConfig {
    /// Its name, as pods ask for it.
    pub name: &'static str,
    /// Which pods share a sandbox.
    pub grouping: Grouping,
    /// The sandboxes of the node.
    pub sandboxes: Arc<Sandboxes>,
    /// Makes images ready.
    pub compiler: Arc<dyn Compiler>,
    /// The pods' own directories: `NAMESPACE/UID` below this.
    pub pods_directory: PathBuf,
    /// Where compiled code is.
    pub code_directory: PathBuf,
}

/// Runs containers in sandboxes.
pub struct SandboxRuntime {
    config: RuntimeConfig,
}

impl SandboxRuntime {
    /// A runtime that has started nothing yet.
    pub const fn new(config: RuntimeConfig) -> Self {
        Self { config }
    }

    /// The sandbox of a pod. One that sees directories that are not the pods' own has a sandbox to itself: what is reached
    /// from there is reached by no other pod.
    fn sandbox_name(&self, pod: &PodRef, host_directories: &[PathBuf]) -> String {
        if self.config.grouping == Grouping::Namespace && host_directories.is_empty() {
            of_namespace(&pod.namespace)
        } else {
            of_pod(&pod.uid)
        }
    }

    /// The sandbox of a container, and what it may open files in.
    fn sandbox_of(&self, spec: &ContainerSpec) -> (String, Vec<Directory>) {
        let name = self.sandbox_name(&spec.pod, &spec.host_directories);
        let is_shared = name == of_namespace(&spec.pod.namespace);
        let namespaces = || self.config.pods_directory.join(&spec.pod.namespace);
        let own = if is_shared { namespaces() } else { self.pod_directory(&spec.pod) };
        let code = Directory { path: self.config.code_directory.clone(), writable: false, own: false };
        let mut directories = vec![Directory { path: own, writable: true, own: true }, code];
        let foreign = |path: &PathBuf| Directory { path: path.clone(), writable: true, own: false };
        directories.extend(spec.host_directories.iter().map(foreign));
        (name, directories)
    }

    fn files_directory(&self, pod: &PodRef) -> PathBuf {
        self.pod_directory(pod).join("files")
    }

    fn pod_directory(&self, pod: &PodRef) -> PathBuf {
        self.config.pods_directory.join(&pod.namespace).join(&pod.uid)
    }

    /// The descriptors of a start, in their order.
    fn grants(&self, spec: &ContainerSpec, sandbox: &str) -> Result<(StartContainer, Vec<OwnedFd>), StartError> {
        let failed = |what: &str, error: std::io::Error| StartError {
            reason: "CreateContainerError",
            message: format!("{what}: {error}"),
        };
        let code =
            self.config.compiler.code(&spec.image.digest).map_err(|error| failed(&spec.image.reference, error))?;
        let (log, log_bytes) = spec.logs.file().map_err(|error| failed("the log", error))?;
        let mut descriptors = vec![code.file.into(), log.into()];
        if spec.tty {
            let Terminal { master, slave } = Terminal::open().map_err(|error| failed("the terminal", error))?;
            descriptors.extend([master, slave]);
        }
        for mount in &spec.mounts {
            let what = || format!("cannot mount {}", mount.guest);
            if let Some(user) = self.config.sandboxes.launcher.user(sandbox).filter(|_| self.is_own(mount)) {
                grants::give(&mount.host, user).map_err(|error| failed(&what(), error))?;
            }
            descriptors.push(grants::open(mount).map_err(|error| failed(&what(), error))?);
        }
        let mut start = message(spec, code.form, log_bytes);
        if self.config.grouping == Grouping::Pod {
            // The operating system sees to it: such code does not yield.
            start.cpu_milli = None;
        }
        Ok((start, descriptors))
    }

    fn is_own(&self, mount: &Mount) -> bool {
        mount.host.starts_with(&self.config.pods_directory)
    }

    async fn start_in(&self, link: &Arc<Link>, spec: &mut ContainerSpec) -> Result<Arc<Remote>, StartError> {
        let files = wherry_runtime::stage(spec, &self.files_directory(&spec.pod))?;
        let (start, descriptors) = self.grants(&*spec, &link.name)?;
        let (answer, answered) = oneshot::channel();
        let is_command = spec.image.kind == ImageKind::Command;
        let remote = link.expect(&spec.id, Arc::clone(&spec.logs), files, is_command);
        {
            let mut state = link.state();
            state.pods.insert(spec.network.address(), Arc::downgrade(&spec.network));
            state.starting.insert(spec.id.clone(), answer);
        }
        link.holder().iter().for_each(|holder| spec.network.hold(holder));
        let told = link.try_tell(&ToSandbox::Start(Box::new(start)), descriptors);
        let outcome = match told {
            Ok(true) => answered.await.unwrap_or_else(|_| Err(gone("the sandbox ended during the start"))),
            Ok(false) => Err(gone("the sandbox does not read what it is told")),
            Err(too_large) => Err(gone(&format!("the container's arguments, environment and mounts: {too_large}"))),
        };
        if outcome.is_ok() && self.config.grouping == Grouping::Pod {
            link.share_cpu(&spec.id, spec.limits.cpu_milli);
        }
        outcome.map(|()| remote).map_err(|Failure { reason, message }| {
            let mut state = link.state();
            state.containers.remove(&spec.id);
            state.starting.remove(&spec.id);
            StartError { reason: known_reason(&reason), message }
        })
    }
}

#[async_trait]
impl Runtime for SandboxRuntime {
    fn name(&self) -> &'static str {
        self.config.name
    }

    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        self.config.compiler.prepare(wanted).await
    }

    async fn start(&self, mut spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let (name, directories) = self.sandbox_of(&spec);
        let link = self.config.sandboxes.get(&name, &directories).await?;
        Ok(self.start_in(&link, &mut spec).await?)
    }

    fn survivors(&self, pod: &PodRef, host_directories: &[PathBuf]) -> Vec<Survivor> {
        let adopted = self.config.sandboxes.adopted(&self.sandbox_name(pod, host_directories));
        adopted.map(|link| link.survivors(self.config.name, pod)).unwrap_or_default()
    }

    fn adopt(&self, survivor: &Survivor, adoption: Adoption) -> Option<Arc<dyn Container>> {
        let link = self.config.sandboxes.adopted(&survivor.place)?;
        let remote = link.adopt(survivor, &adoption, &self.files_directory(&survivor.pod))?;
        if self.config.grouping == Grouping::Pod {
            link.share_cpu(&survivor.id, adoption.limits.cpu_milli);
        }
        Some(remote)
    }

    fn end_survivors(&self) {
        self.config.sandboxes.end_survivors();
    }
}

/// The name of a namespace's sandbox.
pub(super) fn of_namespace(namespace: &str) -> String {
    format!("namespace-{namespace}")
}

/// The name of a pod's own sandbox.
pub(super) fn of_pod(uid: &str) -> String {
    format!("{POD_PREFIX}{uid}")
}

fn message(spec: &ContainerSpec, form: String, log_bytes: u64) -> StartContainer {
    let PodRef { namespace, name, uid } = spec.pod.clone();
    StartContainer {
        id: spec.id.clone(),
        name: spec.name.clone(),
        run: spec.run,
        pod: PodPart { namespace, name, uid, address: spec.network.address() },
        reference: spec.image.reference.clone(),
        digest: spec.image.digest.clone(),
        form,
        command: spec.command.clone(),
        args: spec.args.clone(),
        env: spec.env.clone(),
        working_dir: spec.working_dir.clone(),
        mounts: spec.mounts.iter().map(|mount| (mount.guest.clone(), mount.read_only)).collect(),
        cpu_milli: spec.limits.cpu_milli,
        memory_bytes: spec.limits.memory_bytes,
        http_port: spec.http_port,
        stdin: spec.stdin,
        stdin_once: spec.stdin_once,
        tty: spec.tty,
        log_bytes,
    }
}

fn gone(message: &str) -> Failure {
    Failure { reason: "RunContainerError".to_owned(), message: message.to_owned() }
}

/// The reasons that a sandbox may give; it is not believed in more.
fn known_reason(reason: &str) -> &'static str {
    if reason == "CreateContainerError" { "CreateContainerError" } else { "RunContainerError" }
}
