//! Taking up a pod whose node process was gone: what its status says becomes the record of earlier runs, and what has
//! outlived that process goes on.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};
use wherry_api::kinds::Pod;
use wherry_runtime::{PodRef, Survivor};

use crate::pod::{ContainerOutline, Ending, Live, Outline, Phase, RestartPolicy, Slot, Stage, State, Why};

/// The exit code of a run whose end nobody saw.
const LOST_CODE: i32 = 137;

/// The state in which a pod is taken up: fresh, or with a restart more for each container that had run.
pub fn resume(pod: &Pod, now: Timestamp) -> State {
    let mut state = State::new(Arc::new(Outline::of(pod)));
    let Some(status) = &pod.status else { return state };
    state.since = status.start_time.as_ref().map(|time| time.0);
    let statuses = statuses(pod);
    for (outline, slot) in state.outline.containers.iter().zip(&mut state.slots) {
        if let Some(status) = statuses.iter().find(|status| *status.name == *outline.name) {
            record(slot, status, now);
        }
    }
    state
}

/// The state in which a pod is taken up of which something is left: what runs goes on, what has ended stays ended. The
/// outline has the images that run, whatever the spec says by now.
pub fn inherit(pod: &Pod, survivors: &[Survivor], now: Timestamp) -> State {
    let heir = Heir(survivors);
    let statuses = statuses(pod);
    let mut outline = Outline::of(pod);
    let restart = outline.restart;
    let mut slots = Vec::new();
    for container in &mut outline.containers {
        let status = statuses.iter().find(|status| *status.name == *container.name).copied();
        let mut slot = Slot::default();
        match heir.newest(container, status) {
            Some(survivor) => {
                container.image = survivor.reference.as_str().into();
                heir.go_on(&mut slot, container, survivor, status, now);
            }
            None => status.iter().for_each(|status| rest(&mut slot, container, restart, status, now)),
        }
        slots.push(slot);
    }
    let mut state = State::new(Arc::new(outline));
    state.slots = slots;
    state.address = survivors.first().map(|survivor| survivor.address);
    state.since = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    state
}

/// Whether a container of the pod ran when its status was written last.
pub fn was_running(pod: &Pod) -> bool {
    statuses(pod).iter().any(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
}

/// What a pod's status tells of the containers of a runtime that cannot be asked: those that ran when it was written last.
pub fn remembered(pod: &Pod, name: &PodRef, runtime: &'static str) -> Vec<Survivor> {
    let Some(address) = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok()) else {
        return Vec::new();
    };
    let one = |status: &ContainerStatus| {
        let running = status.state.as_ref()?.running.as_ref()?;
        let (scheme, id) = status.container_id.as_deref()?.split_once("://")?;
        (scheme == runtime).then(|| Survivor {
            id: id.to_owned(),
            pod: name.clone(),
            address,
            name: status.name.clone(),
            run: restarts(status),
            reference: status.image.clone(),
            digest: status.image_id.clone(),
            since: running.started_at.as_ref().map(|time| time.0).unwrap_or_default(),
            exit: None,
            runtime,
            place: String::new(),
        })
    };
    statuses(pod).into_iter().filter_map(one).collect()
}

/// The containers of a pod that an earlier process of the node has started.
struct Heir<'a>(&'a [Survivor]);

impl Heir<'_> {
    /// The last run of a container that the status does not know the end of.
    fn newest(&self, container: &ContainerOutline, status: Option<&ContainerStatus>) -> Option<&Survivor> {
        let known = status.map_or(0, restarts);
        let of_container = self.0.iter().filter(|survivor| *survivor.name == *container.name);
        let untold = |survivor: &&Survivor| {
            survivor.exit.is_none() || !status.is_some_and(|status| tells_end(status, &id(survivor)))
        };
        of_container.filter(|survivor| survivor.run >= known).filter(untold).max_by_key(|survivor| survivor.run)
    }

    /// One that has ended counts as running until its end is heard.
    fn go_on(
        &self,
        slot: &mut Slot,
        container: &ContainerOutline,
        survivor: &Survivor,
        status: Option<&ContainerStatus>,
        now: Timestamp,
    ) {
        let id = id(survivor);
        let same = status.filter(|status| status.container_id.as_deref() == Some(&id));
        let since = same.and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref());
        let started = !container.startup || same.is_some_and(|status| status.started == Some(true));
        let ready = started && (!container.readiness || same.is_some_and(|status| status.ready));
        let since = since.map_or(survivor.since, |time| time.0);
        slot.last = self.before(survivor, status, now).map(Box::new);
        slot.restarts = survivor.run;
        slot.digest = Some(survivor.digest.as_str().into());
        slot.enter(Stage::Running(Live::new(id.into(), since, started, ready)));
    }

    /// How the run before a survivor's ended.
    fn before(&self, survivor: &Survivor, status: Option<&ContainerStatus>, now: Timestamp) -> Option<Ending> {
        let before = self.0.iter().find(|other| other.name == survivor.name && other.run + 1 == survivor.run);
        if let Some((before, exit)) = before.and_then(|before| Some((before, before.exit.clone()?))) {
            let Survivor { since, .. } = before;
            let (code, reason, id) = (exit.code, exit.reason.word().into(), id(before).into());
            return Some(Ending { id, code, reason, message: exit.message, since: Some(*since), at: now });
        }
        let status = status?;
        let (stage, last) = (status.state.as_ref(), status.last_state.as_ref());
        if restarts(status) < survivor.run && stage.is_some_and(|stage| stage.running.is_some()) {
            return Some(lost(status, now));
        }
        let ended =
            stage.and_then(|stage| stage.terminated.as_ref()).or(last.and_then(|last| last.terminated.as_ref()));
        ended.map(|ended| ending(ended, now))
    }
}

/// As the status has it.
fn id(survivor: &Survivor) -> String {
    format!("{}://{}", survivor.runtime, survivor.id)
}

/// A container of which nothing is left, in a pod of which something is.
fn rest(
    slot: &mut Slot,
    container: &ContainerOutline,
    restart: RestartPolicy,
    status: &ContainerStatus,
    now: Timestamp,
) {
    record(slot, status, now);
    let stage = status.state.as_ref();
    if let Some(ended) = stage.and_then(|stage| stage.terminated.as_ref())
        && !restart.restarts(container.role, ended.exit_code)
    {
        slot.last = status
            .last_state
            .as_ref()
            .and_then(|last| last.terminated.as_ref())
            .map(|last| Box::new(ending(last, now)));
        slot.restarts = restarts(status);
        slot.digest = Some(status.image_id.as_str().into());
        slot.stage = Stage::Ended(Box::new(ending(ended, now)));
    }
    // Its restart is counted already where it is not waited for.
    let waiting = stage.and_then(|stage| stage.waiting.as_ref()).and_then(|waiting| waiting.reason.as_deref());
    if waiting.is_some_and(|reason| reason != "CrashLoopBackOff") {
        slot.restarts = restarts(status);
    }
}

/// Whether a status says how a container has ended.
fn tells_end(status: &ContainerStatus, id: &str) -> bool {
    let ended = [&status.state, &status.last_state].into_iter().flatten().filter_map(|state| state.terminated.as_ref());
    ended.into_iter().any(|ended| ended.container_id.as_deref() == Some(id))
}

/// Init containers first.
fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| s.init_container_statuses.iter().chain(&s.container_statuses)).flatten().collect()
}

fn restarts(status: &ContainerStatus) -> u32 {
    u32::try_from(status.restart_count).unwrap_or_default()
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
    let statuses = statuses(pod);
    for (outline, slot) in state.outline.containers.iter().zip(&mut state.slots) {
        let Some(status) = statuses.iter().find(|status| *status.name == *outline.name) else { continue };
        let terminated = |stage: &Option<ContainerState>| stage.as_ref().and_then(|stage| stage.terminated.clone());
        slot.restarts = restarts(status);
        slot.digest = Some(status.image_id.as_str().into());
        slot.last = terminated(&status.last_state).map(|ended| Box::new(ending(&ended, now)));
        if let Some(ended) = terminated(&status.state) {
            slot.stage = Stage::Ended(Box::new(ending(&ended, now)));
        }
    }
    state
}

fn record(slot: &mut Slot, status: &ContainerStatus, now: Timestamp) {
    let stage = status.state.as_ref();
    let ended = stage.and_then(|stage| stage.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    slot.last = match stage.and_then(|stage| stage.running.as_ref()) {
        Some(_) => Some(Box::new(lost(status, now))),
        None => ended.or(before).map(|ended| Box::new(ending(ended, now))),
    };
    slot.restarts = restarts(status) + u32::from(slot.last.is_some());
}

/// The end of a run that nobody saw.
fn lost(status: &ContainerStatus, now: Timestamp) -> Ending {
    let running = status.state.as_ref().and_then(|stage| stage.running.as_ref());
    Ending {
        id: status.container_id.as_deref().unwrap_or_default().into(),
        code: LOST_CODE,
        reason: "NodeRestarted".into(),
        message: "The node's process ended while the container ran".into(),
        since: running.and_then(|running| running.started_at.as_ref()).map(|time| time.0),
        at: now,
    }
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
