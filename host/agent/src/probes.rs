//! Probes of a running container: one task a container that has any; it ends with the container.
//!
//! Verdicts are told where they change something, failures as they come: people count them. While a container is young, a refused connection is tried again within
//! milliseconds and counts for nothing, so that a server is ready as soon as it listens, not a period later.

mod check;
mod grpc;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_runtime::Container as Running;
use wherry_vnet::Network;

use crate::pod::{Event, ProbeKind};
use crate::worker::container_at;
use check::Check;
pub use check::{Get, Trouble};

/// How long after its first probe a container may refuse connections without this counting as a failure.
const YOUNG: Duration = Duration::from_secs(1);
/// How many failures in a row are told one by one; after that one in so many is.
const TOLD_FAILURES: u32 = 25;
/// The first wait between tries of a young container; it doubles.
const YOUNG_WAIT_FIRST: Duration = Duration::from_millis(5);

/// A probe with its defaults filled in.
struct Plan {
    kind: ProbeKind,
    index: usize,
    turn: u32,
    check: Check,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
    grace: Option<Duration>,
}

/// A run of a container that is to be probed.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Which container.
    pub index: usize,
    /// The slot's `turn` in that run.
    pub turn: u32,
    /// How long it runs already.
    pub age: Duration,
    /// Whether its startup probe has succeeded before.
    pub started: bool,
}

/// What is probed of a container: small, so that thousands of them may wait.
pub struct Probing {
    startup: Option<Plan>,
    liveness: Option<Plan>,
    readiness: Option<Plan>,
}

impl Probing {
    /// The probes of a container, which runs, of a pod at `address`.
    pub fn new(pod: &Pod, address: IpAddr, subject: Subject, running: &Arc<dyn Running>) -> Option<Self> {
        let container = pod.spec.as_ref().and_then(|spec| container_at(spec, subject.index))?;
        let plan = |kind, probe: &Option<Probe>| {
            let check = |probe| Check::new(address, container, probe, running);
            probe.as_ref().map(|probe| Plan::new(kind, subject, check(probe), probe))
        };
        Some(Self {
            startup: plan(ProbeKind::Startup, &container.startup_probe).filter(|_| !subject.started),
            liveness: plan(ProbeKind::Liveness, &container.liveness_probe),
            readiness: plan(ProbeKind::Readiness, &container.readiness_probe),
        })
    }

    /// Probes until it is dropped: first for startup, then for liveness and readiness.
    pub async fn run(self, network: &Network, report: impl Fn(Event) + Sync) {
        if let Some(startup) = &self.startup {
            startup.until_success(network, &report).await;
        }
        let endless = async |plan: &Option<Plan>| {
            if let Some(plan) = plan {
                plan.endless(network, &report).await;
            }
        };
        futures::join!(endless(&self.liveness), endless(&self.readiness));
    }
}

impl Plan {
    fn new(kind: ProbeKind, subject: Subject, check: Check, probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        let grace = probe.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok());
        Self {
            kind,
            index: subject.index,
            turn: subject.turn,
            delay: seconds(probe.initial_delay_seconds, 0).saturating_sub(subject.age),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
            grace: grace.map(Duration::from_secs),
            check,
        }
    }

    async fn until_success(&self, network: &Network, report: &impl Fn(Event)) {
        let mut judge = Judge::default();
        let mut tick = self.first_tick().await;
        loop {
            let result = self.check_young(network, tick).await;
            if self.hear(&mut judge, result, report) == Some(true) {
                return;
            }
            tick += self.period;
            tokio::time::sleep_until(tick).await;
        }
    }

    async fn endless(&self, network: &Network, report: &impl Fn(Event)) {
        let mut judge = Judge { verdict: (self.kind == ProbeKind::Liveness).then_some(true), ..Judge::default() };
        let mut tick = self.first_tick().await;
        let mut result = self.check_young(network, tick).await;
        loop {
            self.hear(&mut judge, result, report);
            tick += self.period;
            tokio::time::sleep_until(tick).await;
            result = self.check(network).await;
        }
    }

    async fn first_tick(&self) -> Instant {
        let tick = Instant::now() + self.delay;
        if !self.delay.is_zero() {
            tokio::time::sleep_until(tick).await;
        }
        tick
    }

    /// A check that is patient with a container that does not listen yet.
    async fn check_young(&self, network: &Network, since: Instant) -> Result<(), Trouble> {
        let old = since + YOUNG.min(self.period);
        let mut wait = YOUNG_WAIT_FIRST;
        loop {
            match self.check(network).await {
                Err(Trouble::Refused(_)) if Instant::now() + wait < old => tokio::time::sleep(wait).await,
                result => return result,
            }
            wait *= 2;
        }
    }

    async fn check(&self, network: &Network) -> Result<(), Trouble> {
        self.check.run(network, self.timeout).await
    }

    /// Tells of a failure, and of a verdict that is new. What cannot be told counts for nothing, as in a kubelet.
    fn hear(&self, judge: &mut Judge, result: Result<(), Trouble>, report: &impl Fn(Event)) -> Option<bool> {
        let (index, run, probe) = (self.index, self.turn, self.kind);
        if let Err(Trouble::Unknown(why)) = &result {
            tracing::debug!(index, probe = probe.word(), why, "a probe says nothing");
            return None;
        }
        let verdict = judge.hear(result.is_ok(), self.successes, self.failures);
        if let Err(trouble) = result
            && judge.tells()
        {
            report(Event::Unhealthy { index, run, probe, message: trouble.into_message() });
        }
        if let Some(verdict) = verdict {
            report(Event::Probed { index, run, probe, verdict, grace: self.grace });
        }
        verdict
    }
}

/// Counts results against thresholds.
#[derive(Default)]
struct Judge {
    /// What was told last; `None`: nothing.
    verdict: Option<bool>,
    row: u32,
    row_of: bool,
}

impl Judge {
    /// Hears one more result; gives a verdict where it is a new one.
    fn hear(&mut self, good: bool, successes: u32, failures: u32) -> Option<bool> {
        self.row = if self.row_of == good { self.row.saturating_add(1) } else { 1 };
        self.row_of = good;
        let enough = self.row >= if good { successes } else { failures };
        let news = enough && self.verdict != Some(good);
        if news {
            self.verdict = Some(good);
        }
        news.then_some(good)
    }

    /// Whether people are told of the failure just heard: of the first ones each, of many in a row some.
    fn tells(&self) -> bool {
        self.row <= TOLD_FAILURES || self.row.is_multiple_of(TOLD_FAILURES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_only_what_changes() {
        let results = [true, false, false, true, false, false, false, false, true, true];
        let mut judge = Judge::default();
        let heard = results.map(|good| judge.hear(good, 2, 3));
        let expected = [None, None, None, None, None, None, Some(false), None, None, Some(true)];
        assert_eq!(heard, expected);
    }
}
