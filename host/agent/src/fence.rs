//! Fencing: a node that is cut off stops the pods that others will be given, before they are given to others.
//!
//! The master calls a node unreachable a grace after it last heard of it, and gives its pods to others when they bear that
//! no longer. The node counts the same time from the *beginning* of its last renewal that was answered, which is sooner, on
//! its own monotonic clock, and stops each pod a margin before that. What it stopped is taken up again when the API answers and
//! has it still. A process that has just started does not know when the one before was heard, nor what pods bear: what that
//! one has left ends unless the first renewal is answered in time. Spawns the task that watches the time; the renewals are
//! `lease`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Taint, Toleration};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wherry_api::NodeLease;
use wherry_api::kinds::Pod;
use wherry_api::taint::{NO_EXECUTE, UNREACHABLE, borne};

use crate::context::Context;
use crate::lease;
use crate::pod::{Event, State, Why};

/// How long pods that are killed may take to be gone before those that are are taken up again.
const KILLED_PATIENCE: Duration = Duration::from_secs(2);

/// What people are told of a pod that was stopped.
const FENCED: &str = "The node did not reach the API: it stopped the pod, which might have been given to another node";

/// What the node holds its pods by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// When the last renewal that was answered began.
    pub since: Instant,
    /// What the cluster goes by.
    pub lease: NodeLease,
}

/// A time in which the node has held its pods without a break, by when it began. What the API told before it may be of
/// pods that others have been given since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold(Instant);

/// The present tenure, and what it continues.
#[derive(Clone, Copy, Debug)]
struct Held {
    tenure: Tenure,
    hold: Hold,
}

/// Whether the node may run its pods.
pub struct Fence {
    /// None before the first renewal: no pod is taken up before.
    held: watch::Sender<Option<Held>>,
    /// Until when a first renewal is answered in time.
    first_due: Instant,
    /// Pods were stopped that may come back.
    is_closed: AtomicBool,
    /// The API answers again after a silence by which the node may be called unreachable.
    pub regained: Notify,
    /// Pods that were stopped are to be taken up again, if they are the node's still.
    pub reopened: Notify,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Peek {
    spec: PeekSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PeekSpec {
    tolerations: Vec<Toleration>,
}

/// For how long a pod may go on that bears the taint of an unreachable node for `borne` (`None`: not at all; the most: for
/// ever), after a `silence`. Zero: it must stop now.
pub fn left(lease: NodeLease, borne: Option<Duration>, silence: Duration) -> Duration {
    match borne.unwrap_or_default() {
        Duration::MAX => Duration::MAX,
        borne => (lease.grace() + borne).saturating_sub(lease.margin()).saturating_sub(silence),
    }
}

impl Tenure {
    /// When the first pods must stop.
    fn end(self) -> Instant {
        self.since + left(self.lease, None, Duration::ZERO)
    }

    /// For how long no pod at all must stop.
    fn left(self, now: Instant) -> Duration {
        left(self.lease, None, now.saturating_duration_since(self.since))
    }
}

impl Held {
    /// After a renewal.
    fn renewed(before: Option<Self>, tenure: Tenure, now: Instant) -> Self {
        let unbroken = before.and_then(|before| before.hold(now));
        Self { tenure, hold: unbroken.unwrap_or(Hold(now)) }
    }

    /// None where the first pods must have stopped.
    fn hold(self, now: Instant) -> Option<Hold> {
        (!self.tenure.left(now).is_zero()).then_some(self.hold)
    }
}

impl Fence {
    /// Before the first renewal, of a cluster that went by this lease.
    pub fn new(lease: NodeLease) -> Self {
        let (held, first_due) = (watch::Sender::new(None), Instant::now() + lease::patience(lease));
        Self { held, first_due, is_closed: AtomicBool::new(false), regained: Notify::new(), reopened: Notify::new() }
    }

    /// For how long nothing at all must stop.
    fn left(&self, now: Instant) -> Duration {
        let first = || self.first_due.saturating_duration_since(now);
        self.tenure().map_or_else(first, |tenure| tenure.left(now))
    }

    /// Waits until the node holds its pods: until a renewal is answered, and that was not too long ago.
    pub async fn held(&self) -> Hold {
        let mut renewals = self.held.subscribe();
        loop {
            renewals.mark_unchanged();
            if let Some(hold) = self.hold() {
                return hold;
            }
            let _never_ends = renewals.changed().await;
        }
    }

    /// Whether the node has held its pods ever since.
    pub fn is_unbroken(&self, hold: Hold) -> bool {
        self.hold() == Some(hold)
    }

    fn hold(&self) -> Option<Hold> {
        self.held.borrow().and_then(|held| held.hold(Instant::now()))
    }

    fn tenure(&self) -> Option<Tenure> {
        self.held.borrow().map(|held| held.tenure)
    }
}

/// Stops pods when their time is over, until the drain of the context.
pub fn spawn(context: Arc<Context>) {
    let drain = context.drain.clone();
    drain.vital().spawn(async move {
        let mut renewals = context.fence.held.subscribe();
        loop {
            renewals.mark_unchanged();
            let left = context.stop_those_over(Instant::now());
            tokio::select! {
                _ = renewals.changed() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    });
}

impl Context {
    /// A renewal was answered. What is over by the tenure before ends all the same: the node may have been stopped itself.
    pub fn renewed(&self, tenure: Tenure) {
        let now = Instant::now();
        let before = *self.fence.held.borrow();
        self.stop_those_over(now);
        self.fence.held.send_replace(Some(Held::renewed(before, tenure, now)));
        self.network.gate().close_at(tenure.end());
        self.stop_those_over(now);
        if tenure.left(now).is_zero() {
            return;
        }
        if before.is_some_and(|before| before.hold(now).is_none()) {
            self.fence.regained.notify_one();
        }
        if self.fence.is_closed.swap(false, Ordering::SeqCst) {
            self.fence.reopened.notify_one();
        }
    }

    /// Stops the pods that must not go on at `now`; how long the others may at the least.
    fn stop_those_over(&self, now: Instant) -> Duration {
        let least = self.fence.left(now);
        if !least.is_zero() {
            return least;
        }
        if !self.inherited.is_cancelled() {
            tracing::warn!("the API is not reached: what an earlier process of the node may have left is ended");
            self.runtimes.end_survivors();
        }
        let Some(tenure) = self.fence.tenure() else { return Duration::MAX };
        let silence = now.saturating_duration_since(tenure.since);
        let mut next = Duration::MAX;
        let now = self.clock.now();
        // One that is ending has no more time than others.
        for worker in self.all().iter().filter(|worker| worker.inspect(|state| !state.is_out_of_time(now))) {
            let peek: Peek = serde_json::from_slice(&worker.object()).unwrap_or_default();
            let left = left(tenure.lease, bears(&peek.spec.tolerations), silence);
            if left.is_zero() {
                let (namespace, pod) = (&worker.pod.namespace, &worker.pod.name);
                tracing::warn!(
                    namespace,
                    pod,
                    ?silence,
                    "the API is not reached: the pod may be given to another node"
                );
                self.fence.is_closed.store(true, Ordering::SeqCst);
                worker.unplug();
                worker.feed(Event::Stop { why: Why::Shutdown, grace: Duration::ZERO });
            } else {
                next = next.min(left);
            }
        }
        next
    }

    /// Waits until the pods that were stopped are gone, and their statuses told, so that they can be taken up again.
    pub async fn await_stopped(&self) {
        let stopped: Vec<_> = self.all().into_iter().filter(|worker| worker.inspect(State::is_set_aside)).collect();
        let _late = tokio::time::timeout(KILLED_PATIENCE, self.until_over(&stopped)).await;
        futures::future::join_all(stopped.iter().map(|worker| worker.reported())).await;
        if !stopped.iter().all(|worker| worker.is_cleared()) {
            self.fence.reopened.notify_one();
            return;
        }
        // Not when they were stopped: then nobody would have heard of it.
        for worker in &stopped {
            self.recorder.pod(&worker.pod, None, true, "NodeFenced", FENCED.to_owned());
        }
    }
}

/// How much longer than others a pod may be reached on a node that is cut off.
pub fn patience(pod: &Pod) -> Duration {
    bears(pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()).unwrap_or_default()
}

/// How long a pod bears that its node is unreachable.
fn bears(tolerations: &[Toleration]) -> Option<Duration> {
    let taint = Taint { key: UNREACHABLE.to_owned(), effect: NO_EXECUTE.to_owned(), ..Taint::default() };
    borne(tolerations, &taint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_stop_a_margin_before_others_may_have_them() {
        let check = |grace_millis: u64, borne: Option<u64>, silence_millis: u64, expected: Option<u64>| {
            let lease = NodeLease::of(Duration::from_millis(grace_millis));
            let borne =
                borne.map(|seconds| if seconds == u64::MAX { Duration::MAX } else { Duration::from_secs(seconds) });
            let left = left(lease, borne, Duration::from_millis(silence_millis));
            assert_eq!(left, expected.map_or(Duration::MAX, Duration::from_millis), "{borne:?} {silence_millis}");
        };
        check(2000, None, 0, Some(1500));
        check(2000, None, 1499, Some(1));
        check(2000, None, 1500, Some(0));
        check(2000, Some(0), 0, Some(1500));
        check(2000, Some(1), 1600, Some(900));
        check(2000, Some(1), 2500, Some(0));
        check(2000, Some(1), 20_000, Some(0));
        check(2000, Some(300), 20_000, Some(281_500));
        check(2000, Some(u64::MAX), 1_000_000, None);
        check(40_000, Some(300), 0, Some(330_000));
    }

    #[test]
    fn a_hold_ends_where_pods_must_have_stopped_before_the_next_renewal_was_answered() {
        let start = Instant::now();
        let after = |millis: u64| start + Duration::from_millis(millis);
        let lease = NodeLease::of(Duration::from_secs(2));
        // When each renewal began and was answered.
        let check = |renewals: &[(u64, u64)], now: u64, expected: Option<u64>| {
            let renewed = |before, (since, answered): &(u64, u64)| {
                Some(Held::renewed(before, Tenure { since: after(*since), lease }, after(*answered)))
            };
            let hold = renewals.iter().fold(None, renewed).and_then(|held| held.hold(after(now)));
            assert_eq!(hold, expected.map(|began| Hold(after(began))), "{renewals:?} at {now}");
        };
        check(&[], 0, None);
        check(&[(0, 10)], 20, Some(10));
        check(&[(0, 10)], 1499, Some(10));
        check(&[(0, 10)], 1500, None);
        check(&[(0, 10), (500, 510), (1000, 2400)], 2410, Some(2400));
        check(&[(0, 10), (500, 510), (1000, 1990)], 2410, Some(10));
        check(&[(0, 10), (1600, 1610)], 1620, Some(1610));
        check(&[(0, 10), (1600, 3200)], 3200, None);
        check(&[(0, 10), (1600, 3200), (3300, 3310)], 3400, Some(3310));
    }

    #[test]
    fn the_shortest_toleration_counts() {
        let check = |tolerations: &str, expected: Option<u64>| {
            let object = format!(r#"{{"spec": {{"tolerations": [{tolerations}]}}}}"#);
            let peek: Peek = serde_json::from_str(&object).unwrap();
            assert_eq!(bears(&peek.spec.tolerations).map(|borne| borne.as_secs()), expected, "{tolerations}");
        };
        let own = r#"{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 7}"#;
        check("", None);
        check(own, Some(7));
        check(r#"{"operator": "Exists"}"#, Some(Duration::MAX.as_secs()));
        check(&format!(r#"{{"operator": "Exists"}}, {own}"#), Some(7));
        check(r#"{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}"#, None);
    }
}
