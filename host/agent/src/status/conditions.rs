//! A pod's conditions: ours from its state, those of others as they are.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;
use wherry_api::kinds::{Pod, Time};

use super::{condition, is_ready};
use crate::pod::{Phase, Role, State};

const OURS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// A verdict: `None` holds; else reason and message of why it does not.
type Verdict = Option<(&'static str, String)>;

/// All conditions of a pod in `state`; a time of transition is kept where the verdict is the same.
pub fn of(state: &State, pod: &Pod, phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let containers = containers_ready(state, phase);
    let ready = containers.clone().or_else(|| gates_open(pod));
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
    Some(PodCondition { reason, message: Some(message), ..ours(pod, "DisruptionTarget", None, now) })
}

fn ours(pod: &Pod, kind: &str, verdict: Verdict, now: Timestamp) -> PodCondition {
    let status = if verdict.is_none() { "True" } else { "False" };
    let before = condition(pod, kind).filter(|before| before.status == status);
    let since = before.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(now));
    let (reason, message) = verdict.unzip();
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
    (state.address.is_none() || state.is_over()).then(|| ("", String::new()))
}

fn initialized(state: &State, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return None;
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
    let names: Vec<&str> = open.map(|(outline, _)| &*outline.name).collect();
    let message = || format!("containers with incomplete status: [{}]", names.join(" "));
    (!names.is_empty()).then(|| ("ContainersNotInitialized", message()))
}

/// None is in a pod that is being ended: Services take its address away before its containers stop.
fn containers_ready(state: &State, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Some(("PodCompleted", String::new()));
    }
    if phase == "Failed" {
        return Some(("PodFailed", String::new()));
    }
    let pairs = state.outline.containers.iter().zip(&state.slots).filter(|(outline, _)| outline.role != Role::Init);
    let names: Vec<&str> =
        pairs.filter(|(o, s)| state.is_ending() || !is_ready(o, s)).map(|(outline, _)| &*outline.name).collect();
    let message = || format!("containers with unready status: [{}]", names.join(" "));
    (!names.is_empty()).then(|| ("ContainersNotReady", message()))
}

fn gates_open(pod: &Pod) -> Verdict {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let shut =
        gates.map(|gate| &gate.condition_type).find(|gate| condition(pod, gate).is_none_or(|c| c.status != "True"));
    shut.map(|gate| {
        (
            "ReadinessGatesNotReady",
            format!("corresponding condition of pod readiness gate \"{gate}\" does not exist or is not True."),
        )
    })
}
