//! What the controllers keep of a pod: ten thousand of them must cost little.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1 as core;
use wherry_api::kinds::{Kind, ObjectMeta, Pod};
use wherry_client::{Group, Projection};
use wherry_placement::holds_resources;

use crate::world::{Known, trimmed};

/// What the binder is called: in pods that it places, and in the events that it tells.
pub(crate) const SCHEDULER: &str = "default-scheduler";
/// Pods are grouped by the uid of their controller.
const BY_OWNER: &str = "owner";
/// Pods are grouped by the name of their node.
const BY_NODE: &str = "node";
/// The owner of the pods that nobody controls.
static NO_OWNER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
/// What the reason of a pod's `Ready` condition says when its node fell silent.
pub(crate) const NODE_LOST: &str = "NodeNotReady";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
static NO_LABELS: LazyLock<BTreeMap<String, String>> = LazyLock::new(BTreeMap::new);

/// A port with a name: name, number, protocol.
pub(crate) type NamedPort = (Box<str>, i32, Box<str>);

/// A pod, reduced.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodView {
    pub(crate) meta: ObjectMeta,
    pub(crate) key: ObjectKey,
    /// `status.phase`; `Pending` where there is none yet.
    pub(crate) phase: Phase,
    /// The node, where it has one.
    pub(crate) node: Option<Arc<str>>,
    /// Whether the scheduler is us.
    pub(crate) is_ours: bool,
    /// The address, where it has one.
    pub(crate) ip: Option<Box<str>>,
    /// Whether it is Ready, and since when.
    pub(crate) ready: Option<Timestamp>,
    /// Whether it is not Ready for the one reason that its node fell silent.
    pub(crate) is_node_lost: bool,
    /// The `PodScheduled` condition's message, where it says that there is no node, and since when it does.
    pub(crate) unschedulable: Option<(Box<str>, Option<Timestamp>)>,
    /// What its deletion costs, compared with others.
    pub(crate) deletion_cost: i32,
    /// The most restarts of a container.
    pub(crate) restarts: i32,
    /// Ports with a name: name, number, protocol.
    pub(crate) ports: Box<[NamedPort]>,
    /// `spec.hostname` and `spec.subdomain`.
    pub(crate) hostname: Option<(Box<str>, Box<str>)>,
    /// What placement wants to know.
    pub(crate) asks: Arc<wherry_placement::Pod>,
    /// What it bears of a node's troubles.
    pub(crate) tolerations: Arc<[core::Toleration]>,
}

/// A pod, shared.
#[derive(Clone, Debug)]
pub(crate) struct PodRef(Arc<PodView>);

impl Deref for PodRef {
    type Target = PodView;

    fn deref(&self) -> &PodView {
        &self.0
    }
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

impl PodView {
    /// Whether its life is over.
    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether somebody has asked for its end.
    pub(crate) const fn is_deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// Whether it is to be counted as a replica.
    pub(crate) const fn is_active(&self) -> bool {
        !self.has_ended() && !self.is_deleting()
    }

    /// Whether it is Ready, and has been for `seconds`.
    pub(crate) fn is_available(&self, seconds: i32, now: Timestamp) -> bool {
        self.ready.is_some_and(|since| {
            seconds <= 0 || now.as_second().saturating_sub(since.as_second()) >= i64::from(seconds)
        })
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        self.meta.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// When it was made.
    pub(crate) fn created(&self) -> Timestamp {
        self.meta.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default()
    }
}

/// The group of the pods that have this controller, by its uid; of those that nobody controls, with an empty one.
pub(crate) fn of_owner(uid: &str) -> Group {
    Group { by: BY_OWNER, value: uid.into() }
}

/// The group of the pods on a node.
pub(crate) fn on_node(name: &str) -> Group {
    Group { by: BY_NODE, value: name.into() }
}

impl Known for PodRef {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl Projection<Pod> for PodRef {
    fn project(pod: Pod) -> Self {
        Self(Arc::new(PodView::from(pod)))
    }

    fn groups(&self) -> impl Iterator<Item = Group> {
        let owner = self.asks.owner.as_ref().unwrap_or(&NO_OWNER);
        let node = self.node.as_ref().map(|node| Group { by: BY_NODE, value: Arc::clone(node) });
        [Group { by: BY_OWNER, value: Arc::clone(owner) }].into_iter().chain(node)
    }
}

impl From<Pod> for PodView {
    fn from(mut pod: Pod) -> Self {
        let key = pod.key();
        let asks = Arc::new(wherry_placement::Pod::from(&pod));
        let phase = phase(&pod);
        let spec = pod.spec.take().unwrap_or_default();
        let status = pod.status.take().unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let restarts = status.container_statuses.as_deref().unwrap_or_default().iter().map(|s| s.restart_count);
        let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
        let deletion_cost = cost.and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            deletion_cost,
            is_node_lost: is_node_lost(conditions),
            meta: trimmed(&mut pod.metadata),
            key,
            phase,
            ports: named_ports(&spec),
            is_ours: spec.scheduler_name.as_deref().is_none_or(|name| name == SCHEDULER),
            ready: ready_since(conditions),
            unschedulable: unschedulable(conditions),
            restarts: restarts.max().unwrap_or(0),
            ip: text(status.pod_ip),
            node: text(spec.node_name).map(Arc::from),
            hostname: text(spec.hostname).map(|name| (name, text(spec.subdomain).unwrap_or_default())),
            asks,
            tolerations: spec.tolerations.unwrap_or_default().into(),
        }
    }
}

fn text(value: Option<String>) -> Option<Box<str>> {
    value.filter(|value| !value.is_empty()).map(Into::into)
}

fn phase(pod: &Pod) -> Phase {
    let word = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match word {
        Some("Running") => Phase::Running,
        Some("Unknown") => Phase::Unknown,
        Some("Succeeded") => Phase::Succeeded,
        _ if !holds_resources(pod) => Phase::Failed,
        _ => Phase::Pending,
    }
}

fn ready_since(conditions: &[core::PodCondition]) -> Option<Timestamp> {
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref().map(|time| time.0).unwrap_or_default())
}

fn is_node_lost(conditions: &[core::PodCondition]) -> bool {
    let is_lost = |c: &core::PodCondition| c.status == "False" && c.reason.as_deref() == Some(NODE_LOST);
    conditions.iter().any(|c| c.type_ == "Ready" && is_lost(c))
}

fn unschedulable(conditions: &[core::PodCondition]) -> Option<(Box<str>, Option<Timestamp>)> {
    let no_node = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let since = no_node.last_transition_time.as_ref().map(|time| time.0);
    Some((no_node.message.as_deref().unwrap_or_default().into(), since))
}

/// Ports of containers, and of the init containers that stay.
fn named_ports(spec: &core::PodSpec) -> Box<[NamedPort]> {
    let stays = |c: &&core::Container| c.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(stays);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let named = ports.filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        Some((port.name.as_deref()?.into(), port.container_port, protocol.into()))
    });
    named.collect()
}
