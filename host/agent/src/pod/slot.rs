//! One container's part of a pod's state: waiting, running or ended, and what is remembered of earlier runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use wherry_runtime::Exit;

use super::Hindrance;

/// The first wait of a container that crashes.
const CRASH_BACKOFF_FIRST: Duration = Duration::from_secs(10);
/// The longest wait of a container that crashes.
pub const CRASH_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A run of this length clears a container's record.
const STEADY_RUN: SignedDuration = SignedDuration::from_mins(10);

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// What it does now.
    pub stage: Stage,
    /// How its run before ended.
    pub last: Option<Box<Ending>>,
    /// How often it was started again.
    pub restarts: u32,
    /// The digest of the image that ran last.
    pub digest: Option<Arc<str>>,
    /// Counts stages, so that late timers and verdicts are known as such.
    pub turn: u32,
    /// Crashes in a row.
    pub failures: u32,
    /// Images and configurations in a row that were not to be had.
    pub misses: u32,
}

/// What a container does now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Its turn has not come.
    #[default]
    Idle,
    /// It is being started.
    Creating,
    /// It is to be started again after a while.
    Held(Hindrance),
    /// It runs.
    Running(Live),
    /// It ended and is not to be started again.
    Ended(Box<Ending>),
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// `wasm://…`.
    pub id: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Whether its startup probe has succeeded, or it has none.
    pub started: bool,
    /// Whether its readiness probe says so, or it has none.
    pub ready: bool,
    /// A probe's verdict is its end, so it is started again even after exit code 0.
    pub condemned: bool,
    /// When its grace ends, if it was asked to stop.
    pub stopping: Option<Timestamp>,
    /// Why nothing is known of it any more, if its runtime is lost: a sentence.
    pub silence: Option<Arc<str>>,
}

impl Live {
    /// One whose probes, as far as it has any, have said nothing yet but this.
    pub const fn new(id: Arc<str>, since: Timestamp, started: bool, ready: bool) -> Self {
        Self { id, since, started, ready, condemned: false, stopping: None, silence: None }
    }

    /// Whether the container is of this runtime.
    pub fn is_of(&self, runtime: &str) -> bool {
        self.id.split_once("://").is_some_and(|(scheme, _)| scheme == runtime)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `wasm://…`; empty where it never ran.
    pub id: Arc<str>,
    /// The exit code.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: Arc<str>,
    /// For a person.
    pub message: String,
    /// Since when it ran.
    pub since: Option<Timestamp>,
    /// Until when.
    pub at: Timestamp,
}

impl Slot {
    /// Goes on to another stage.
    pub fn enter(&mut self, stage: Stage) {
        self.turn = self.turn.wrapping_add(1);
        self.stage = stage;
    }

    /// Whether something runs, or is about to.
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Creating | Stage::Running(_))
    }

    /// The run, if it runs.
    pub fn running(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Running(live) => Some(live),
            _ => None,
        }
    }

    /// The run, if it runs.
    pub fn running_mut(&mut self) -> Option<&mut Live> {
        match &mut self.stage {
            Stage::Running(live) => Some(live),
            _ => None,
        }
    }

    /// How it ended, if it did for good.
    pub fn ended(&self) -> Option<&Ending> {
        match &self.stage {
            Stage::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    /// The record of the run that ends now.
    pub fn ending(&self, exit: Exit, at: Timestamp) -> Ending {
        let live = self.running();
        Ending {
            id: live.map_or_else(|| Arc::from(""), |live| live.id.clone()),
            code: exit.code,
            reason: exit.reason.word().into(),
            message: exit.message,
            since: live.map(|live| live.since),
            at,
        }
    }

    /// Counts a crash of a run that began at `since`, and says how long to wait: not at all after the first.
    pub fn crash(&mut self, since: Option<Timestamp>, at: Timestamp) -> Duration {
        if since.is_some_and(|since| at.duration_since(since) >= STEADY_RUN) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        match self.failures.saturating_sub(1) {
            0 => Duration::ZERO,
            n => doubled(CRASH_BACKOFF_FIRST, n - 1, CRASH_BACKOFF_MAX),
        }
    }

    /// Counts a failure to get image or configuration, and says how long to wait.
    pub fn miss(&mut self, first: Duration, most: Duration) -> Duration {
        self.misses = self.misses.saturating_add(1);
        doubled(first, self.misses - 1, most)
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Crashes after runs of so many seconds; the waits.
    fn waits(runs: &[i64]) -> Vec<u64> {
        let mut slot = Slot::default();
        let crash = |run: &i64| {
            let at = Timestamp::from_second(100_000).unwrap();
            slot.crash(Some(at - SignedDuration::from_secs(*run)), at).as_secs()
        };
        runs.iter().map(crash).collect()
    }

    #[test]
    fn backs_off_from_ten_seconds_to_five_minutes_and_forgets_after_a_steady_run() {
        assert_eq!(waits(&[1; 9]), [0, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(waits(&[1, 1, 1, 599, 600, 1, 1]), [0, 10, 20, 40, 0, 10, 20]);
    }
}
