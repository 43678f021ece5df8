//! Starting a container within the sandbox.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use wherry_runtime::{
    Code, ContainerSpec, Exit, Image, ImageKind, Limits, Mount, PodRef, Security, StartError, Terminal,
};
use wherry_vnet::{Egress, Namespace, PodIdentity};

use super::log::FileLog;
use super::{Entry, Guests, Running, locked};
use crate::message::{Failure, PodPart, StartContainer, SurvivingContainer, ToNode, WireExit};

impl Guests {
    /// Starts a container and follows it to its end.
    pub(super) async fn start(self: Arc<Self>, start: StartContainer, descriptors: Vec<OwnedFd>) {
        let id = start.id.clone();
        let facts = SurvivingContainer::new(&start, self.clock.now());
        let started = self.try_start(start, descriptors).await;
        let outcome = started.as_ref().map(drop).map_err(Failure::from);
        let Ok(running) = started else {
            return self.node.tell(&ToNode::Started { container: id, outcome });
        };
        let container = Arc::clone(&running.container);
        {
            let mut containers = locked(&self.containers);
            containers.insert(id.clone(), Entry { facts, running: Some(running) });
            self.node.tell(&ToNode::Started { container: id.clone(), outcome });
        }
        let exit = container.exited().await;
        self.ended(&id, exit);
    }

    /// Its output is written before its end is told.
    fn ended(&self, id: &str, exit: Exit) {
        let running = locked(&self.containers).get_mut(id).and_then(|entry| entry.running.take());
        let Some(running) = running else { return };
        running.log.end();
        drop(running);
        let exit = WireExit::from(exit);
        let mut containers = locked(&self.containers);
        if let Some(entry) = containers.get_mut(id) {
            entry.facts.exit = Some(exit.clone());
        }
        self.node.tell(&ToNode::Exited { container: id.to_owned(), exit });
        drop(containers);
    }

    async fn try_start(&self, start: StartContainer, descriptors: Vec<OwnedFd>) -> Result<Running, StartError> {
        let mut descriptors = descriptors.into_iter();
        let (Some(code), Some(log)) = (descriptors.next(), descriptors.next()) else {
            return Err(refused("descriptors are missing".to_owned()));
        };
        let code = Code { file: File::from(code), form: start.form.clone() };
        self.runtime.install(&start.digest, code).map_err(|error| refused(error.to_string()))?;
        let log = self.flusher.log(&start.id, File::from(log), start.log_bytes, Arc::clone(&self.clock));
        let terminal = if start.tty { descriptors.next().zip(descriptors.next()) } else { None };
        let mounts: Vec<OwnedFd> = descriptors.collect();
        let mut spec = self.spec(start, &mounts, &log)?;
        spec.terminal = terminal.map(|(master, slave)| Arc::new(Terminal { master, slave }));
        let container = self.runtime.start(spec).await?;
        Ok(Running { container, log, _mounts: mounts })
    }

    fn spec(&self, start: StartContainer, mounts: &[OwnedFd], log: &Arc<FileLog>) -> Result<ContainerSpec, StartError> {
        let network = self.namespace(&start.pod).ok_or_else(|| refused("the pod has no address".to_owned()))?;
        let mounted = start.mounts.into_iter().zip(mounts).map(|((guest, read_only), descriptor)| Mount {
            host: PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd())),
            guest,
            read_only,
        });
        Ok(ContainerSpec {
            id: start.id,
            pod: PodRef { namespace: start.pod.namespace, name: start.pod.name, uid: start.pod.uid },
            name: start.name,
            run: start.run,
            // Only the digest is looked at from here on.
            image: Image { reference: start.reference, digest: start.digest, kind: ImageKind::Command },
            command: start.command,
            args: start.args,
            env: start.env,
            working_dir: start.working_dir,
            mounts: mounted.collect(),
            host_directories: Vec::new(),
            limits: Limits { cpu_milli: start.cpu_milli, memory_bytes: start.memory_bytes },
            // Of use to processes of the machine only.
            cpu_requested_milli: 0,
            security: Security::default(),
            hostname: String::new(),
            network,
            http_port: start.http_port,
            logs: Arc::clone(log) as _,
            stdin: start.stdin,
            stdin_once: start.stdin_once,
            tty: start.tty,
            terminal: None,
        })
    }

    /// The pod's network here, shared by its containers.
    fn namespace(&self, pod: &PodPart) -> Option<Arc<Namespace>> {
        let network = locked(&self.network).clone()?;
        let identity = PodIdentity { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: pod.uid.clone() };
        // Whether the pod may leave the cluster is the node's to decide, at each connection.
        network.pod_at(pod.address).or_else(|| network.namespace_at(identity, Egress::Denied, pod.address))
    }
}

impl From<&StartError> for Failure {
    fn from(error: &StartError) -> Self {
        Self { reason: error.reason.to_owned(), message: error.message.clone() }
    }
}

fn refused(message: String) -> StartError {
    StartError { reason: "CreateContainerError", message }
}
