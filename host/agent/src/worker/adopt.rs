//! Taking over a pod's containers that have outlived the node's process that started them.

use std::sync::Arc;

use wherry_api::kinds::Pod;
use wherry_runtime::{Adoption, Exit, ExitReason, PodRef, Survivor};
use wherry_vnet::Namespace;

use super::Worker;
use super::set_up::{egress, hosts, identity};
use super::start::{container_at, limits};
use crate::context::Context;
use crate::fence;
use crate::pod::Event;
use crate::{status, volumes};

/// The exit code of what was gone before it could be taken over.
const LOST_CODE: i32 = 137;

/// What an earlier process of the node has left of a pod.
pub struct Inheritance {
    network: Arc<Namespace>,
    survivors: Vec<Survivor>,
}

impl Inheritance {
    /// What there is of a pod; none unless it has the address that its status says, which nobody else has meanwhile.
    pub fn of(context: &Context, pod: &Pod, name: &PodRef) -> Option<Self> {
        let directories = volumes::host_directories(pod.spec.as_ref()?);
        let runtimes = context.runtimes.of(pod).ok()?.iter();
        let survivors = runtimes.flat_map(|runtime| {
            let left = runtime.survivors(name, &directories);
            let is_lost = || runtime.availability().is_some_and(|now| now.borrow().is_lost());
            let cannot_tell = left.is_empty() && is_lost();
            if cannot_tell { status::remembered(pod, name, runtime.name()) } else { left }
        });
        let survivors: Vec<_> = survivors.collect();
        let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        if survivors.is_empty() || survivors.iter().any(|survivor| survivor.address != address) {
            return None;
        }
        let network = context.network.namespace_at(identity(name), egress(pod), address)?;
        network.set_patience(fence::patience(pod));
        network.set_hosts(hosts(pod));
        Some(Self { network, survivors })
    }

    /// The containers that are left.
    pub fn survivors(&self) -> &[Survivor] {
        &self.survivors
    }
}

impl Worker {
    /// Takes over what the state shows as running.
    pub fn adopt(self: &Arc<Self>, pod: &Pod, inheritance: &Inheritance) {
        let Inheritance { network, survivors } = inheritance;
        let mut live = self.live();
        live.network = Some(Arc::clone(network));
        let running = live.state.outline.containers.iter().zip(&live.state.slots).enumerate();
        let running = running.filter(|(_, (_, slot))| slot.running().is_some());
        let running: Vec<_> = running.map(|(index, (o, slot))| (index, o.name.clone(), slot.restarts)).collect();
        for (index, name, run) in running {
            let log = self.context.logs.open(&self.pod, &name, run);
            let limits = pod.spec.as_ref().and_then(|spec| limits(container_at(spec, index)?).ok()).unwrap_or_default();
            let adoption = Adoption { network: Arc::clone(network), logs: log.clone(), limits };
            let survivor = survivors.iter().find(|survivor| *survivor.name == *name && survivor.run == run);
            let adopted = survivor.and_then(|found| self.context.runtimes.of_survivor(found)?.adopt(found, adoption));
            let Some(container) = adopted else {
                self.lost(index);
                continue;
            };
            if let Some(run) = live.runs.get_mut(index) {
                (run.container, run.log) = (Some(container.clone()), Some(log));
            }
            self.clone().follow(index, container);
        }
        for (runtime, why) in self.context.runtimes.lost() {
            self.feed_locked(&mut live, Event::Silence { runtime, why: Some(why) });
        }
    }

    /// A container is gone that was to be taken over.
    fn lost(self: &Arc<Self>, index: usize) {
        let worker = self.clone();
        let message = "it was gone when the node came back".to_owned();
        let exit = Exit { code: LOST_CODE, reason: ExitReason::SandboxChanged, message };
        self.context.drain.spawn(async move { worker.feed(Event::Exited { index, exit }) });
    }
}
