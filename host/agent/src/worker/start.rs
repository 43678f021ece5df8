//! Starting a container: image, environment, mounts, then the runtime.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container as ContainerFields, PodSpec};
use wherry_api::kinds::Pod;
use wherry_api::{References, quantity};
use wherry_runtime::{Container, ContainerSpec, Image, Limits, StartError};

use super::Worker;
use crate::context::random_id;
use crate::downward::Facts;
use crate::env::{self, Words};
use crate::logs::ContainerLog;
use crate::objects;
use crate::pod::{Event, Hindrance};
use crate::security::security;
use crate::services;
use crate::termination;
use crate::volumes;

/// Linux' limit, and so a kubelet's.
const HOSTNAME_CHARS_MAX: usize = 63;

/// The reason of a container that waits for its configuration.
pub const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// A container that runs.
struct Started {
    container: Arc<dyn Container>,
    log: Arc<ContainerLog>,
    id: String,
    digest: String,
}

impl Worker {
    pub(super) async fn start(self: Arc<Self>, index: usize) {
        let pod = self.live().pod();
        match self.try_start(&pod, index).await {
            Ok(started) => self.running(index, started),
            Err(event) => {
                if matches!(&event, Event::NotStarted { hindrance, .. } if hindrance.reason == CONFIG_ERROR) {
                    self.await_config(&pod, index);
                }
                self.feed(event);
            }
        }
    }

    /// What a container's environment names is watched from now on: once it is there, the container starts at once.
    fn await_config(self: &Arc<Self>, pod: &Pod, index: usize) {
        let fields = pod.spec.as_ref().and_then(|spec| container_at(spec, index));
        if let Some(fields) = fields {
            self.context.references.add(self, &References::of_environment(fields));
        }
    }

    fn running(self: Arc<Self>, index: usize, started: Started) {
        let container = started.container.clone();
        let mut live = self.live();
        if let Some(run) = live.runs.get_mut(index) {
            run.container = Some(started.container);
            run.log = Some(started.log);
        }
        self.feed_locked(&mut live, Event::Started { index, id: started.id.into(), digest: started.digest.into() });
        let lifecycles = |spec: &PodSpec| container_at(spec, index).is_some_and(|fields| fields.lifecycle.is_some());
        let hooked = live.pod().spec.as_ref().is_some_and(lifecycles);
        drop(live);
        if hooked {
            self.context.drain.spawn(self.clone().post_start(index, container.clone()));
        }
        self.follow(index, container);
    }

    /// Waits for a container's end. Its runtime may forget it once the status says how it has ended.
    pub(super) fn follow(self: Arc<Self>, index: usize, container: Arc<dyn Container>) {
        let drain = self.context.drain.clone();
        drain.spawn(async move {
            let exit = container.exited().await;
            self.exited(index, exit).await;
            self.written().await;
        });
    }

    async fn try_start(&self, pod: &Pod, index: usize) -> Result<Started, Event> {
        let failed = |reason, message| Event::NotStarted { index, hindrance: Hindrance { reason, message } };
        let unknown = || failed(CONFIG_ERROR, "the pod has no such container".to_owned());
        let spec = pod.spec.as_ref().ok_or_else(unknown)?;
        let fields = container_at(spec, index).ok_or_else(unknown)?;
        let found = self.image(pod, index, fields).await;
        let (runtime, image) = found.map_err(|hindrance| Event::NotStarted { index, hindrance })?;
        let digest = image.digest.clone();
        let config = |message| failed(CONFIG_ERROR, message);
        let words = self.words(pod, spec, fields).await.map_err(config)?;
        let (id, log) = (random_id(&self.context.rng), self.open_log(index, fields));
        let spec =
            self.container_spec(spec, fields, (image, runtime.has_root()), words, (&id, &log)).map_err(config)?;
        let container = runtime.start(spec).await.map_err(|error| {
            log.end();
            let is_hindrance = error.is_hindrance();
            let StartError { reason, message } = error;
            if is_hindrance { failed(reason, message) } else { Event::StartFailed { index, reason, message } }
        })?;
        Ok(Started { container, log, id: format!("{}://{id}", runtime.name()), digest })
    }

    async fn words(&self, pod: &Pod, spec: &PodSpec, fields: &ContainerFields) -> Result<Words, String> {
        let address = self.live().network.as_ref().map(|network| network.address());
        let address = address.ok_or("the pod's address is gone")?;
        let names = References::of_environment(fields);
        let found = objects::fetch(&self.context.client, &self.pod.namespace, &names).await;
        let found = found.map_err(|error| error.to_string())?;
        let facts = Facts { pod, address, host: self.context.config.node_ip, machine: self.context.machine };
        let links = spec.enable_service_links != Some(false);
        let mut given = services::variables(&self.context.services.snapshot(), &self.pod.namespace, links);
        given.push(("HOSTNAME".to_owned(), hostname(&self.pod.name, spec)));
        env::words(fields, &facts, &found, given).map_err(|error| error.to_string())
    }

    fn open_log(&self, index: usize, fields: &ContainerFields) -> Arc<ContainerLog> {
        let run = self.inspect(|state| state.slots.get(index).map_or(0, |slot| slot.restarts));
        self.context.logs.open(&self.pod, &fields.name, run)
    }

    fn container_spec(
        &self,
        spec: &PodSpec,
        fields: &ContainerFields,
        (image, has_root): (Image, bool),
        words: Words,
        (id, log): (&str, &Arc<ContainerLog>),
    ) -> Result<ContainerSpec, String> {
        let network = self.live().network.clone().ok_or("the pod's address is gone")?;
        let variable = |name: &str| words.env.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let expand = |text: &str| env::expand(text, variable);
        let mut mounts = volumes::mounts(&self.context.volumes_folder(&self.pod), spec, fields, expand)?;
        mounts.extend(termination::mount(&self.context.messages_folder(&self.pod), fields, &mounts, has_root)?);
        let first_port = fields.ports.iter().flatten().next().map(|port| port.container_port);
        Ok(ContainerSpec {
            id: id.to_owned(),
            pod: self.pod.clone(),
            name: fields.name.clone(),
            run: log.run(),
            image,
            mounts,
            host_directories: volumes::host_directories(spec),
            command: words.command,
            args: words.args,
            env: words.env,
            working_dir: fields.working_dir.clone().unwrap_or_default(),
            limits: limits(fields)?,
            cpu_requested_milli: cpu_requested_milli(fields)?,
            security: security(spec, fields),
            hostname: hostname(&self.pod.name, spec),
            network,
            http_port: first_port.and_then(|port| u16::try_from(port).ok()),
            logs: log.clone(),
            stdin: fields.stdin == Some(true),
            stdin_once: fields.stdin_once == Some(true),
            tty: fields.tty == Some(true),
            terminal: None,
        })
    }
}

/// What a container's runtime calls the machine that a pod takes itself for.
fn hostname(pod: &str, spec: &PodSpec) -> String {
    let name = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(pod);
    let short: String = name.chars().take(HOSTNAME_CHARS_MAX).collect();
    short.trim_end_matches(['-', '.']).to_owned()
}

/// The container at a place of the outline: init containers first.
pub fn container_at(spec: &PodSpec, index: usize) -> Option<&ContainerFields> {
    spec.init_containers.iter().flatten().chain(&spec.containers).nth(index)
}

fn cpu_requested_milli(fields: &ContainerFields) -> Result<u32, String> {
    let requests = fields.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let asked = requests.and_then(|requests| requests.get("cpu")).map(quantity::milli).transpose();
    let asked = asked.map_err(|error| format!("requests.cpu: {error}"))?.unwrap_or_default();
    Ok(u32::try_from(asked).unwrap_or_default())
}

pub(super) fn limits(fields: &ContainerFields) -> Result<Limits, String> {
    let limits = fields.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let amount = |name: &str, read: fn(&_) -> Result<i64, quantity::NotAQuantity>| {
        let limit = limits.and_then(|limits| limits.get(name)).map(read).transpose();
        limit.map_err(|error| format!("limits.{name}: {error}"))
    };
    let cpu = amount("cpu", quantity::milli)?.filter(|milli| *milli > 0);
    let memory = amount("memory", quantity::units)?.filter(|bytes| *bytes > 0);
    Ok(Limits {
        cpu_milli: cpu.map(|milli| u32::try_from(milli).unwrap_or(u32::MAX)),
        memory_bytes: memory.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}
