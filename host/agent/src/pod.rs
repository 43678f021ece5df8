//! A pod's life as a pure function: `step(State, Event) -> (State, Vec<Effect>)`.
//!
//! Owns every decision about when containers start, restart and end: order of init containers and sidecars, restart
//! policies and back-off, deadlines, termination. It does nothing: no clock, no I/O, no Kubernetes objects; what
//! effects do, and which events they come back with, is `worker`'s. The outline of a pod is all it knows of the spec.

mod machine;
mod outline;
mod slot;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wherry_runtime::Exit;

pub use outline::{ContainerOutline, Outline, RestartPolicy, Role};
pub use slot::{CRASH_BACKOFF_MAX, Ending, Live, Slot, Stage};

/// Where a pod stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What the spec asks for.
    pub outline: Arc<Outline>,
    /// The pod as a whole.
    pub phase: Phase,
    /// Each container, in the outline's order.
    pub slots: Vec<Slot>,
    /// The pod's address, once it has one.
    pub address: Option<IpAddr>,
    /// When the node took the pod up.
    pub since: Option<Timestamp>,
    /// Why it is evicted, if it is: a sentence.
    pub eviction: Option<Box<str>>,
}

/// The pod as a whole. Whether an image is being pulled is a matter of each container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Address and volumes are being made.
    #[default]
    Pending,
    /// Address or volumes could not be made; tried again later, or never.
    Stuck(Hindrance),
    /// Init containers run, one after the other.
    Starting,
    /// The main containers run, or are being started again.
    Running,
    /// All that runs is being stopped.
    Terminating {
        /// Why.
        why: Why,
        /// When patience ends.
        until: Timestamp,
    },
    /// Nothing runs, and nothing will.
    Terminated(Why),
}

/// Why a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its containers ended and are not to be started again.
    Finished,
    /// It ran longer than `activeDeadlineSeconds`.
    Deadline,
    /// It took more of the node than it may.
    Evicted,
    /// Its object is marked for deletion.
    Deleted,
    /// Its object is gone.
    Gone,
    /// The node ends, or is cut off; the pod comes back when the node does.
    Shutdown,
}

/// What keeps a pod or container waiting: `reason` and `message` of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// One word, such as `ImagePullBackOff`.
    pub reason: &'static str,
    /// A sentence for a person.
    pub message: String,
}

/// What happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node takes the pod up.
    Begin,
    /// The spec changed: an image, most likely.
    Changed(Arc<Outline>),
    /// Address and volumes are there.
    SetUp(IpAddr),
    /// They are not; `retry` says after how long to try again, if at all.
    SetUpFailed {
        /// Why.
        hindrance: Hindrance,
        /// When to try again.
        retry: Option<Duration>,
    },
    /// A container runs.
    Started {
        /// Which.
        index: usize,
        /// `wasm://…`.
        id: Arc<str>,
        /// The image's digest.
        digest: Arc<str>,
    },
    /// A container did not come to run because of its image or configuration; tried again, and counted as no restart.
    NotStarted {
        /// Which.
        index: usize,
        /// Why.
        hindrance: Hindrance,
    },
    /// A container's start failed after image and configuration were there: as if it had run and crashed.
    StartFailed {
        /// Which.
        index: usize,
        /// One word.
        reason: &'static str,
        /// A sentence.
        message: String,
    },
    /// A container ended.
    Exited {
        /// Which.
        index: usize,
        /// How.
        exit: Exit,
    },
    /// A probe's verdict changed.
    Probed {
        /// Which container.
        index: usize,
        /// The slot's `turn` in that run.
        run: u32,
        /// Which probe.
        probe: ProbeKind,
        /// Whether it has succeeded, or failed, often enough.
        verdict: bool,
        /// The grace that the probe names, should the container be killed.
        grace: Option<Duration>,
    },
    /// A probe found something wrong, which is told whether or not it decides anything.
    Unhealthy {
        /// Which container.
        index: usize,
        /// The slot's `turn` in that run.
        run: u32,
        /// Which probe.
        probe: ProbeKind,
        /// What.
        message: String,
    },
    /// Nothing is known any more of the containers of a runtime, or all is again.
    Silence {
        /// The runtime's name.
        runtime: &'static str,
        /// Why: a sentence. `None`: it is heard again.
        why: Option<Arc<str>>,
    },
    /// A timer that `step` asked for.
    Timer(Timer),
    /// The pod takes more of the node than it may, as the message says.
    Evict {
        /// A sentence.
        message: String,
    },
    /// Stop the pod.
    Stop {
        /// Why.
        why: Why,
        /// How long its containers may take.
        grace: Duration,
    },
}

/// The three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Until it succeeds, the others wait.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Its failure takes the pod out of Services.
    Readiness,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Trying again to make address and volumes.
    SetUp,
    /// `activeDeadlineSeconds`.
    Deadline,
    /// A container's back-off; stale unless the slot's `turn` is still this.
    Slot {
        /// Which container.
        index: usize,
        /// Its turn when the timer was set.
        turn: u32,
    },
}

/// What is to be done about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make address and volumes; comes back with `SetUp` or `SetUpFailed`.
    SetUp,
    /// Start a container; comes back with `Started` (and once with `Exited` later), `NotStarted` or `StartFailed`.
    Start(usize),
    /// Run the `preStop` hook, stop the container, kill it after `grace`; comes back with `Exited`.
    Stop {
        /// Which.
        index: usize,
        /// How long it may take, hook included.
        grace: Duration,
    },
    /// Begin to probe a container that runs.
    Probe(usize),
    /// Come back with `Event::Timer`.
    Timer(Duration, Timer),
    /// Write the status: at once, or soon and together with what follows.
    Report(Urgency),
    /// Tell people.
    Emit(Notice),
    /// Give back the address, remove the volumes.
    Release,
    /// Delete the object, after its last status is written.
    Delete,
    /// Forget the pod: its object is gone.
    Forget,
}

/// How soon a status must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// More follows within milliseconds, most likely.
    Soon,
    /// Others wait for it.
    Now,
}

/// An event for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether something is wrong.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// The container that it is about.
    pub index: Option<usize>,
}

/// The next state and what is to be done, after `event` at the time `at`. Total: every event is allowed in every state.
pub fn step(state: State, at: Timestamp, event: Event) -> (State, Vec<Effect>) {
    let mut machine = machine::Machine { state, at, effects: Vec::new() };
    machine.apply(event);
    (machine.state, machine.effects)
}

impl State {
    /// A pod that was just taken up.
    pub fn new(outline: Arc<Outline>) -> Self {
        let slots = outline.containers.iter().map(|_| Slot::default()).collect();
        Self { outline, phase: Phase::Pending, slots, address: None, since: None, eviction: None }
    }

    /// Whether it has been stopped or has ended, so that only its object's end is left.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Terminated(_))
    }

    /// Whether it ends or has ended for the node's sake alone.
    pub fn is_set_aside(&self) -> bool {
        matches!(self.phase, Phase::Terminated(Why::Shutdown) | Phase::Terminating { why: Why::Shutdown, .. })
    }

    /// Whether it has ended, or was to by now.
    pub fn is_out_of_time(&self, at: Timestamp) -> bool {
        match self.phase {
            Phase::Terminated(_) => true,
            Phase::Terminating { until, .. } => until <= at,
            Phase::Pending | Phase::Stuck(_) | Phase::Starting | Phase::Running => false,
        }
    }

    /// Whether it is being ended or has ended.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Terminated(_) | Phase::Terminating { .. })
    }
}

#[cfg(test)]
mod tests;
