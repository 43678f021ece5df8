//! How a pod ends: which reason stays, and in what order its containers are stopped.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Machine;
use crate::pod::outline::Role;
use crate::pod::slot::Slot;
use crate::pod::{Effect, Phase, Urgency, Why};

impl Machine {
    /// At once: a pod that takes too much of the disk goes on taking it as long as it lives.
    pub(super) fn evict(&mut self, message: String) {
        if self.state.is_ending() {
            return;
        }
        self.state.eviction = Some(message.as_str().into());
        self.warn(None, "Evicted", message);
        self.stop(Why::Evicted, Duration::ZERO);
    }

    pub(super) fn stop(&mut self, why: Why, grace: Duration) {
        let until = self.after(grace);
        match self.state.phase {
            Phase::Terminated(before) => self.stop_again(before, why),
            Phase::Terminating { why: before, until: sooner } => {
                let why = if before.outranks(why) { before } else { why };
                self.state.phase = Phase::Terminating { why, until: until.min(sooner) };
                self.wind_down();
            }
            Phase::Pending | Phase::Stuck(_) | Phase::Starting | Phase::Running => {
                self.state.phase = Phase::Terminating { why, until };
                if why != Why::Gone {
                    self.report(Urgency::Now);
                }
                self.wind_down();
            }
        }
    }

    fn stop_again(&mut self, before: Why, why: Why) {
        if before.outranks(why) || before == why {
            return;
        }
        self.state.phase = Phase::Terminated(why);
        match why {
            Why::Deleted => self.effects.extend([Effect::Report(Urgency::Now), Effect::Delete]),
            Why::Gone => self.effects.push(Effect::Forget),
            Why::Finished | Why::Deadline | Why::Evicted | Why::Shutdown => {}
        }
    }

    pub(super) fn finish(&mut self, why: Why) {
        self.state.phase = Phase::Terminating { why, until: self.after(self.grace()) };
        self.wind_down();
    }

    /// Stops what still runs: the main containers, then the sidecars from last to first; then the pod has ended.
    pub(super) fn wind_down(&mut self) {
        let Phase::Terminating { why, until } = self.state.phase else { return };
        let outline = self.state.outline.clone();
        let live = |machine: &Self, index: usize| machine.state.slots.get(index).is_some_and(Slot::is_live);
        let (sidecars, others): (Vec<_>, Vec<_>) =
            outline.containers.iter().enumerate().partition(|(_, o)| o.role == Role::Sidecar);
        let others: Vec<_> = others.into_iter().filter(|(index, _)| live(self, *index)).collect();
        let last = sidecars.into_iter().rfind(|(index, _)| live(self, *index));
        let due = if others.is_empty() { last.into_iter().collect() } else { others };
        if due.is_empty() {
            return self.terminated(why);
        }
        for (index, container) in due {
            self.stop_slot(index, until, format!("Stopping container {}", container.name));
        }
    }

    pub(super) fn stop_slot(&mut self, index: usize, until: Timestamp, why: String) {
        let grace = Duration::try_from(until.duration_since(self.at)).unwrap_or_default();
        let Some(live) = self.state.slots.get_mut(index).and_then(Slot::running_mut) else { return };
        if live.stopping.is_some_and(|stopping| stopping <= until) {
            return;
        }
        let first = live.stopping.replace(until).is_none();
        self.effects.push(Effect::Stop { index, grace });
        if first {
            self.tell(Some(index), "Killing", why);
        }
    }

    fn terminated(&mut self, why: Why) {
        self.state.phase = Phase::Terminated(why);
        self.effects.push(Effect::Release);
        match why {
            Why::Finished | Why::Deadline | Why::Evicted => self.report(Urgency::Now),
            Why::Deleted => self.effects.extend([Effect::Report(Urgency::Now), Effect::Delete]),
            Why::Gone => self.effects.push(Effect::Forget),
            Why::Shutdown => {}
        }
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.state.outline.grace_seconds.into())
    }

    pub(super) fn after(&self, grace: Duration) -> Timestamp {
        let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        self.at.checked_add(grace).unwrap_or(Timestamp::MAX)
    }
}

impl Why {
    /// Whether this reason stays when `other` comes later: the object's end is final, a node's end the least.
    fn outranks(self, other: Self) -> bool {
        let rank = |why| match why {
            Self::Shutdown => 0,
            Self::Finished | Self::Deadline | Self::Evicted => 1,
            Self::Deleted => 2,
            Self::Gone => 3,
        };
        rank(self) > rank(other)
    }
}
