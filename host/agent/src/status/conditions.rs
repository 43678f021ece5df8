//! A pod's conditions: ours from its state, those of others as they are.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;
use wherry_api::kinds::{Pod, Time};

use super::{condition, is_ready, silence};
use crate::pod::{ContainerOutline, Phase, Role, Slot, State};

const OURS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// Whether a condition holds; if not, reason and message.
#[derive(Clone)]
enum Verdict {
    True,
    False(&'static str, String),
    /// Nobody can tell.
    Unknown(&'static str, String),
}

impl Verdict {
    /// The first that does not hold.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::True) { other() } else { self }
    }

    fn parts(self) -> (&'static str, Option<&'static str>, Option<String>) {
        match self {
            Self::True => ("True", None, None),
            Self::False(reason, message) => ("False", Some(reason), Some(message)),
            Self::Unknown(reason, message) => ("Unknown", Some(reason), Some(message)),
        }
    }
}

/// All conditions of a pod in `state`; a time of transition is kept where the verdict is the same.
pub fn of(state: &State, pod: &Pod, phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let containers = containers_ready(state, phase);
    let ready = containers.clone().and(|| gates_open(pod));
    let verdicts = [sandbox_ready(state), initialized(state, phase), ready, containers];
    let ours = OURS.into_iter().zip(verdicts).map(|(kind, verdict)| ours(pod, kind, verdict, now));
    let theirs = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let evicted = eviction(state, pod, now);
    let is_ours = |kind: &str| OURS.contains(&kind) || evicted.iter().any(|evicted| evicted.type_ == kind);
    let theirs: Vec<_> = theirs.filter(|condition| !is_ours(&condition.type_)).cloned().collect();
    ours.chain(theirs).chain(evicted).collect()
}

/// For those who count pods that the cluster ended.
fn eviction(state: &State, pod: &Pod, now: Timestamp) -> Option<PodCondition> {
    let message = state.eviction.as_deref()?.to_owned();
    let reason = Some("TerminationByKubelet".to_owned());
    Some(PodCondition { reason, message: Some(message), ..ours(pod, "DisruptionTarget", Verdict::True, now) })
}

fn ours(pod: &Pod, kind: &str, verdict: Verdict, now: Timestamp) -> PodCondition {
    let (status, reason, message) = verdict.parts();
    let before = condition(pod, kind).filter(|before| before.status == status);
    let since = before.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(now));
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
        message: message.filter(|message| !message.is_empty()),
        last_transition_time: Some(since),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn sandbox_ready(state: &State) -> Verdict {
    let is_gone = state.address.is_none() || state.is_over();
    if is_gone { Verdict::False("", String::new()) } else { Verdict::True }
}

fn initialized(state: &State, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict::True;
    }
    let pairs = state.outline.containers.iter().zip(&state.slots).filter(|(outline, _)| outline.role != Role::Main);
    let started = matches!(state.phase, Phase::Running);
    let open = pairs.filter(|(outline, slot)| {
        !started
            && match outline.role {
                Role::Sidecar => slot.running().is_none_or(|live| !live.started),
                Role::Init | Role::Main => slot.ended().is_none_or(|ending| ending.code != 0),
            }
    });
    match named(open) {
        None => Verdict::True,
        Some(names) => {
            Verdict::False("ContainersNotInitialized", format!("containers with incomplete status: [{names}]"))
        }
    }
}

/// None is in a pod that is being ended: Services take its address away before its containers stop.
fn containers_ready(state: &State, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict::False("PodCompleted", String::new());
    }
    if phase == "Failed" {
        return Verdict::False("PodFailed", String::new());
    }
    let pairs = state.outline.containers.iter().zip(&state.slots).filter(|(outline, _)| outline.role != Role::Init);
    let unready = pairs.filter(|(outline, slot)| state.is_ending() || !is_ready(outline, slot));
    let (unknown, known): (Vec<_>, Vec<_>) =
        unready.partition(|(_, slot)| !state.is_ending() && silence(slot).is_some());
    if let Some(names) = named(known.into_iter()) {
        return Verdict::False("ContainersNotReady", format!("containers with unready status: [{names}]"));
    }
    let why = unknown.iter().find_map(|(_, slot)| silence(slot)).unwrap_or_default();
    match named(unknown.iter().copied()) {
        None => Verdict::True,
        Some(names) => Verdict::Unknown("RuntimeLost", format!("containers with unknown status: [{names}]: {why}")),
    }
}

/// The names of containers; `None` where there are none.
fn named<'a>(containers: impl Iterator<Item = (&'a ContainerOutline, &'a Slot)>) -> Option<String> {
    let names: Vec<&str> = containers.map(|(outline, _)| &*outline.name).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

fn gates_open(pod: &Pod) -> Verdict {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let shut =
        gates.map(|gate| &gate.condition_type).find(|gate| condition(pod, gate).is_none_or(|c| c.status != "True"));
    match shut {
        None => Verdict::True,
        Some(gate) => Verdict::False(
            "ReadinessGatesNotReady",
            format!("corresponding condition of pod readiness gate \"{gate}\" does not exist or is not True."),
        ),
    }
}
