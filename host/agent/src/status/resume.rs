//! Taking up a pod whose node process was gone: what its status says becomes the record of earlier runs.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};
use wherry_api::kinds::Pod;

use crate::pod::{Ending, Outline, Phase, Slot, Stage, State, Why};

/// The exit code of a run whose end nobody saw.
const LOST_CODE: i32 = 137;

/// The state in which a pod is taken up: fresh, or with a restart more for each container that had run.
pub fn resume(pod: &Pod, now: Timestamp) -> State {
    let mut state = State::new(Arc::new(Outline::of(pod)));
    let Some(status) = &pod.status else { return state };
    state.since = status.start_time.as_ref().map(|time| time.0);
    let inits = status.init_container_statuses.iter().flatten();
    let statuses: Vec<&ContainerStatus> = inits.chain(status.container_statuses.iter().flatten()).collect();
    for (outline, slot) in state.outline.containers.iter().zip(&mut state.slots) {
        if let Some(status) = statuses.iter().find(|status| *status.name == *outline.name) {
            record(slot, status, now);
        }
    }
    state
}

/// The state of a pod that has ended already.
pub fn over(pod: &Pod, now: Timestamp) -> State {
    let mut state = State::new(Arc::new(Outline::of(pod)));
    let Some(status) = &pod.status else {
        state.phase = Phase::Terminated(Why::Finished);
        return state;
    };
    state.phase = Phase::Terminated(match status.reason.as_deref() {
        Some("DeadlineExceeded") => Why::Deadline,
        Some("Evicted") => Why::Evicted,
        _ => Why::Finished,
    });
    state.eviction =
        status.message.as_deref().filter(|_| state.phase == Phase::Terminated(Why::Evicted)).map(Into::into);
    state.since = status.start_time.as_ref().map(|time| time.0);
    let inits = status.init_container_statuses.iter().flatten();
    let statuses: Vec<&ContainerStatus> = inits.chain(status.container_statuses.iter().flatten()).collect();
    for (outline, slot) in state.outline.containers.iter().zip(&mut state.slots) {
        let Some(status) = statuses.iter().find(|status| *status.name == *outline.name) else { continue };
        let terminated = |stage: &Option<ContainerState>| stage.as_ref().and_then(|stage| stage.terminated.clone());
        slot.restarts = u32::try_from(status.restart_count).unwrap_or_default();
        slot.digest = Some(status.image_id.as_str().into());
        slot.last = terminated(&status.last_state).map(|ended| Box::new(ending(&ended, now)));
        if let Some(ended) = terminated(&status.state) {
            slot.stage = Stage::Ended(Box::new(ending(&ended, now)));
        }
    }
    state
}

fn record(slot: &mut Slot, status: &ContainerStatus, now: Timestamp) {
    let restarts = u32::try_from(status.restart_count).unwrap_or_default();
    let stage = status.state.as_ref();
    let running = stage.and_then(|stage| stage.running.as_ref());
    let ended = stage.and_then(|stage| stage.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let id: Arc<str> = status.container_id.as_deref().unwrap_or_default().into();
    slot.last = match running {
        Some(running) => Some(Box::new(Ending {
            id,
            code: LOST_CODE,
            reason: "NodeRestarted".into(),
            message: "The node's process ended while the container ran".into(),
            since: running.started_at.as_ref().map(|time| time.0),
            at: now,
        })),
        None => ended.or(before).map(|ended| Box::new(ending(ended, now))),
    };
    slot.restarts = restarts + u32::from(slot.last.is_some());
}

fn ending(ended: &ContainerStateTerminated, now: Timestamp) -> Ending {
    Ending {
        id: ended.container_id.as_deref().unwrap_or_default().into(),
        code: ended.exit_code,
        reason: ended.reason.as_deref().unwrap_or("Error").into(),
        message: ended.message.clone().unwrap_or_default(),
        since: ended.started_at.as_ref().map(|time| time.0),
        at: ended.finished_at.as_ref().map_or(now, |time| time.0),
    }
}
