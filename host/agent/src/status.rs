//! A pod's status as a kubelet writes it, from the pod's state: phase, conditions, container statuses. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    PodCondition, PodIP, PodSpec, PodStatus,
};
use wherry_api::kinds::{Pod, Time};

use crate::pod::{ContainerOutline, Ending, Phase, Role, Slot, Stage, State, Why};

mod conditions;
mod resume;

pub use resume::{inherit, over, remembered, resume, was_running};

/// The reason of a pod of which something is unknown.
const UNKNOWN: &str = "Unknown";

/// The status of a pod in `state`. `pod` gives what others wrote: conditions of theirs, times of ours.
pub fn of(state: &State, pod: &Pod, host: IpAddr, now: Timestamp) -> PodStatus {
    let phase = phase(state);
    let ended = state.is_over();
    let (reason, message) = reason(state);
    let statuses = |init: bool| -> Option<Vec<ContainerStatus>> {
        let pairs = state.outline.containers.iter().zip(&state.slots).filter(|(o, _)| (o.role != Role::Main) == init);
        let statuses: Vec<_> = pairs.map(|(outline, slot)| container(state, outline, slot)).collect();
        Some(statuses).filter(|statuses| !statuses.is_empty())
    };
    let address =
        state.address.map(|ip| ip.to_string()).or_else(|| pod.status.as_ref()?.pod_ip.clone().filter(|_| ended));
    PodStatus {
        phase: Some(phase.into()),
        reason,
        message,
        host_ip: Some(host.to_string()),
        host_ips: Some(vec![HostIP { ip: host.to_string() }]),
        pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: address,
        start_time: state.since.map(Time),
        qos_class: Some(qos(pod.spec.as_ref()).into()),
        conditions: Some(conditions::of(state, pod, phase, now)),
        init_container_statuses: statuses(true),
        container_statuses: statuses(false),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

/// The status as a merge patch: that nothing was known of the pod is taken back when it is known again.
pub fn patch(status: &PodStatus, pod: &Pod) -> Result<String, serde_json::Error> {
    let mut patch = serde_json::to_string(status)?;
    let before = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    if before == Some(UNKNOWN) && status.reason.is_none() {
        patch.insert_str(1, r#""reason":null,"message":null,"#);
    }
    Ok(patch)
}

/// Whether a pod that says this of itself is at its end for good.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn phase(state: &State) -> &'static str {
    let why = match &state.phase {
        Phase::Terminating { why, .. } | Phase::Terminated(why) => Some(*why),
        _ => None,
    };
    let pairs = || state.outline.containers.iter().zip(&state.slots);
    let mains = || pairs().filter(|(outline, _)| outline.role == Role::Main).map(|(_, slot)| slot);
    if matches!(why, Some(Why::Deadline | Why::Evicted)) {
        return "Failed";
    }
    if state.is_over() && why != Some(Why::Shutdown) {
        let well = mains().all(|slot| slot.ended().is_some_and(|ending| ending.code == 0));
        return if well { "Succeeded" } else { "Failed" };
    }
    let waits = |slot: &Slot| slot.last.is_none() && !matches!(slot.stage, Stage::Running(_) | Stage::Ended(_));
    if mains().any(waits) { "Pending" } else { "Running" }
}

fn reason(state: &State) -> (Option<String>, Option<String>) {
    match &state.phase {
        Phase::Terminating { why: Why::Deadline, .. } | Phase::Terminated(Why::Deadline) => (
            Some("DeadlineExceeded".into()),
            Some("Pod was active on the node longer than the specified deadline".into()),
        ),
        Phase::Terminating { why: Why::Evicted, .. } | Phase::Terminated(Why::Evicted) => {
            (Some("Evicted".into()), state.eviction.as_deref().map(str::to_owned))
        }
        _ => match state.slots.iter().find_map(silence) {
            Some(why) => (Some(UNKNOWN.into()), Some(why.to_owned())),
            None => (None, None),
        },
    }
}

/// Whether a container is ready, whatever becomes of its pod: a pod that ends is shown as `1/1 Terminating`.
fn is_ready(outline: &ContainerOutline, slot: &Slot) -> bool {
    match outline.role {
        Role::Init => slot.ended().is_some_and(|ending| ending.code == 0),
        Role::Sidecar | Role::Main => slot.running().is_some_and(|live| live.ready && live.silence.is_none()),
    }
}

/// Why nothing is known of a container, if its runtime is lost.
fn silence(slot: &Slot) -> Option<&str> {
    slot.running()?.silence.as_deref()
}

fn container(state: &State, outline: &ContainerOutline, slot: &Slot) -> ContainerStatus {
    let current = match &slot.stage {
        Stage::Running(live) => Some(&live.id),
        Stage::Ended(ending) => Some(&ending.id),
        _ => slot.last.as_ref().map(|ending| &ending.id),
    };
    let started = match outline.role {
        Role::Init => slot.running().is_some(),
        Role::Sidecar | Role::Main => slot.running().is_some_and(|live| live.started),
    };
    ContainerStatus {
        name: outline.name.to_string(),
        image: outline.image.to_string(),
        image_id: slot.digest.as_deref().unwrap_or_default().to_owned(),
        container_id: current.map(|id| id.to_string()).filter(|id| !id.is_empty()),
        ready: is_ready(outline, slot),
        started: Some(started),
        restart_count: i32::try_from(slot.restarts).unwrap_or(i32::MAX),
        state: Some(stage(state, outline, slot)),
        last_state: slot.last.as_ref().map(|ending| terminated(ending)),
        ..ContainerStatus::default()
    }
}

fn stage(state: &State, outline: &ContainerOutline, slot: &Slot) -> ContainerState {
    match (&slot.stage, &state.phase) {
        (Stage::Running(live), _) => {
            let running = ContainerStateRunning { started_at: Some(Time(live.since)) };
            ContainerState { running: Some(running), ..ContainerState::default() }
        }
        (Stage::Ended(ending), _) => terminated(ending),
        (Stage::Held(hindrance), _) | (Stage::Idle, Phase::Stuck(hindrance)) => {
            waiting(hindrance.reason, Some(hindrance.message.clone()))
        }
        (Stage::Idle | Stage::Creating, _) => waiting(idle_reason(state, outline), None),
    }
}

/// Why a container that does not run, and has not ended, waits.
pub fn waiting_reason(state: &State, outline: &ContainerOutline, slot: &Slot) -> &'static str {
    match (&slot.stage, &state.phase) {
        (Stage::Held(hindrance), _) | (Stage::Idle, Phase::Stuck(hindrance)) => hindrance.reason,
        _ => idle_reason(state, outline),
    }
}

/// Why a container that was not reached yet waits.
fn idle_reason(state: &State, outline: &ContainerOutline) -> &'static str {
    let inits = state.outline.containers.iter().any(|container| container.role != Role::Main);
    let early = matches!(state.phase, Phase::Pending | Phase::Stuck(_) | Phase::Starting);
    if outline.role != Role::Main || inits && early { "PodInitializing" } else { "ContainerCreating" }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(ending: &Ending) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: Some(ending.id.to_string()).filter(|id| !id.is_empty()),
        exit_code: ending.code,
        reason: Some(ending.reason.to_string()),
        message: Some(ending.message.clone()).filter(|message| !message.is_empty()),
        started_at: ending.since.map(Time),
        finished_at: Some(Time(ending.at)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// The class that decides who goes first when memory is short.
fn qos(spec: Option<&PodSpec>) -> &'static str {
    let containers = || spec.into_iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
    let amounts = |limits: bool, name: &str| {
        let name = name.to_owned();
        containers().map(move |container| {
            let resources = container.resources.as_ref()?;
            let map = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
            map?.get(&name).filter(|q| q.0 != "0").cloned()
        })
    };
    let any =
        ["cpu", "memory"].into_iter().any(|name| amounts(true, name).chain(amounts(false, name)).any(|a| a.is_some()));
    let same =
        |name| amounts(true, name).zip(amounts(false, name)).all(|(l, r)| l.is_some() && (r.is_none() || l == r));
    match any {
        false => "BestEffort",
        true if same("cpu") && same("memory") => "Guaranteed",
        true => "Burstable",
    }
}

/// The condition of a type that the pod has already.
fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

#[cfg(test)]
mod tests;
