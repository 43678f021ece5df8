//! What a pod needs before its first container: an address and its volumes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::HostAlias;
use wherry_api::kinds::Pod;
use wherry_api::{Error, References};
use wherry_runtime::PodRef;
use wherry_vnet::{Egress, PodIdentity};

use super::Worker;
use super::start::CONFIG_ERROR;
use crate::context::Context;
use crate::downward::Facts;
use crate::fence;
use crate::objects;
use crate::pod::{Event, Hindrance, Phase, Slot, Stage, Timer};
use crate::tokens::{Given, Wanted};
use crate::volumes;

/// Annotate a pod with this and `allow` to let it reach addresses outside the cluster.
const EGRESS_ANNOTATION: &str = "wherry.dev/egress";
/// The first and the longest wait before address and volumes are tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));

/// Why a pod is not set up.
struct Failure {
    hindrance: Hindrance,
    event: &'static str,
    retry: bool,
}

impl Worker {
    pub(super) async fn set_up(self: Arc<Self>) {
        let pod = self.live().pod();
        let event = match self.try_set_up(&pod).await {
            Ok(address) => Event::SetUp(address),
            Err(failure) => self.failed(failure),
        };
        self.feed(event);
    }

    /// Something that volumes or environments are made of changed: the files follow, or what was missing is tried again.
    pub fn refresh(self: Arc<Self>) {
        let worker = self.clone();
        self.context.drain.spawn(async move {
            let _alone = worker.context.refreshing.lock().await;
            let (pod, address, phase) = {
                let mut live = worker.live();
                (live.pod(), live.network.as_ref().map(|network| network.address()), live.state.phase.clone())
            };
            match (phase, address) {
                (Phase::Stuck(_), _) => worker.feed(Event::Timer(Timer::SetUp)),
                (Phase::Starting | Phase::Running, Some(address)) => {
                    if let Err(failure) = worker.make_volumes(&pod, address).await {
                        let message = failure.hindrance.message;
                        worker.context.recorder.pod(&worker.pod, None, true, failure.event, message);
                    }
                    worker.retry_config();
                }
                _ => {}
            }
        });
    }

    /// Tries again what waits for its configuration.
    fn retry_config(self: &Arc<Self>) {
        let waits = |slot: &Slot| matches!(&slot.stage, Stage::Held(hindrance) if hindrance.reason == CONFIG_ERROR);
        let waiting: Vec<Timer> = self.inspect(|state| {
            let slots = state.slots.iter().enumerate().filter(|(_, slot)| waits(slot));
            slots.map(|(index, slot)| Timer::Slot { index, turn: slot.turn }).collect()
        });
        waiting.into_iter().for_each(|timer| self.feed(Event::Timer(timer)));
    }

    fn failed(&self, failure: Failure) -> Event {
        self.context.recorder.pod(&self.pod, None, true, failure.event, failure.hindrance.message.clone());
        let mut live = self.live();
        let doubling = 1_u32 << live.set_up_failures.min(16);
        live.set_up_failures += 1;
        let retry = failure.retry.then(|| RETRY.0.saturating_mul(doubling).min(RETRY.1));
        Event::SetUpFailed { hindrance: failure.hindrance, retry }
    }

    async fn try_set_up(self: &Arc<Self>, pod: &Arc<Pod>) -> Result<IpAddr, Failure> {
        refuse(&self.context, pod)?;
        self.context.inherited.cancelled().await;
        let address = self.address(pod)?;
        if volumes::any(pod) {
            self.make_volumes(pod, address).await?;
        }
        Ok(address)
    }

    fn address(&self, pod: &Pod) -> Result<IpAddr, Failure> {
        let mut live = self.live();
        if let Some(network) = &live.network {
            return Ok(network.address());
        }
        let network = self.context.network.namespace(identity(&self.pod), egress(pod)).map_err(|error| Failure {
            hindrance: Hindrance { reason: "CreatePodSandboxError", message: error.to_string() },
            event: "FailedCreatePodSandBox",
            retry: true,
        })?;
        network.set_patience(fence::patience(pod));
        network.set_hosts(hosts(pod));
        let address = network.address();
        live.network = Some(network);
        Ok(address)
    }

    async fn make_volumes(self: &Arc<Self>, pod: &Arc<Pod>, address: IpAddr) -> Result<(), Failure> {
        let names = pod.spec.as_ref().map(References::of_volumes).unwrap_or_default();
        self.context.references.add(self, &names);
        let found = objects::fetch(&self.context.client, &self.pod.namespace, &names).await;
        let mut found = found.map_err(|error| mount_failure(error.to_string(), true))?;
        found.tokens = self.tokens_of(pod).await.map_err(|error| mount_failure(error.to_string(), true))?;
        let (folder, host, machine) =
            (self.context.volumes_folder(&self.pod), self.context.config.node_ip, self.context.machine);
        let pod = pod.clone();
        let make = move || volumes::make(&folder, &Facts { pod: &pod, address, host, machine }, &found);
        let made = wherry_base::spawn_blocking(make).await;
        let made = made.map_err(|error| mount_failure(error.to_string(), true))?;
        made.map_err(|error| mount_failure(error.to_string(), error.retry))
    }
}

impl Worker {
    /// The tokens that the volumes hold; when they are to be renewed, so are the volumes.
    async fn tokens_of(self: &Arc<Self>, pod: &Pod) -> Result<BTreeMap<Wanted, String>, Error> {
        let context = &self.context;
        let Given { texts, renewal } = self.tokens.of(&context.client, &self.pod, pod, context.clock.now()).await?;
        if let Some(renewal) = renewal {
            let worker = Arc::downgrade(self);
            context.drain.spawn(async move {
                tokio::time::sleep_until(renewal).await;
                if let Some(worker) = worker.upgrade() {
                    worker.refresh();
                }
            });
        }
        Ok(texts)
    }
}

/// As the pod network knows the pod.
pub(super) fn identity(pod: &PodRef) -> PodIdentity {
    let PodRef { namespace, name, uid } = pod.clone();
    PodIdentity { namespace, name, uid }
}

/// The pod's `hostAliases`; what is no address was refused with the pod.
pub(super) fn hosts(pod: &Pod) -> Vec<(String, IpAddr)> {
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    let of_alias = |alias: &HostAlias| {
        let address = alias.ip.parse().ok();
        let names = alias.hostnames.clone().unwrap_or_default().into_iter();
        names.filter_map(move |name| Some((name, address?))).collect::<Vec<_>>()
    };
    aliases.flat_map(of_alias).collect()
}

/// Whether the pod may leave the cluster.
pub(super) fn egress(pod: &Pod) -> Egress {
    let annotations = pod.metadata.annotations.as_ref();
    let allowed = annotations.and_then(|all| all.get(EGRESS_ANNOTATION)).is_some_and(|value| value == "allow");
    if allowed { Egress::Allowed } else { Egress::Denied }
}

fn mount_failure(message: String, retry: bool) -> Failure {
    let reason = if retry { "ContainerCreating" } else { "FailedMount" };
    Failure { hindrance: Hindrance { reason, message }, event: "FailedMount", retry }
}

/// Refuses for good what this node cannot do.
fn refuse(context: &Context, pod: &Pod) -> Result<(), Failure> {
    let refused = |reason, message| Failure {
        hindrance: Hindrance { reason, message },
        event: "FailedCreatePodSandBox",
        retry: false,
    };
    if pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true)) {
        let message = "hostNetwork: true is not supported: pods, of modules and of Linux images alike, have the pod network; \
                       a NodePort or an Ingress reaches them at the node's address";
        return Err(refused("HostNetworkUnsupported", message.into()));
    }
    context.runtimes.of(pod).map(drop).map_err(|message| refused("RuntimeClassUnsupported", message))
}
