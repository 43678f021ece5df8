//! How long a node may be silent, and all that follows from it: the one place that both planes derive it from.
//!
//! The master judges by `grace`; the node renews its Lease often enough, and takes its pods to be given to others a
//! `margin` before the master may do so. The master says the grace in `kube-public/cluster-info`.

use std::time::Duration;

use jiff::SignedDuration;

/// Renewals within one grace, and margins: Kubernetes renews each 10 s of 40 s.
const PARTS: u32 = 4;

/// The timing of the Leases of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLease {
    grace: Duration,
}

impl NodeLease {
    /// The namespace of all Leases of nodes.
    pub const NAMESPACE: &'static str = "kube-node-lease";
    /// The key of the grace in the data of the ConfigMap `cluster-info`.
    pub const KEY: &'static str = "nodeMonitorGracePeriod";
    /// Where nobody says anything: what Kubernetes' own controller has.
    pub const DEFAULT: Self = Self::of(Duration::from_secs(40));

    /// Of a master that calls a node unreachable after a silence of `grace`.
    pub const fn of(grace: Duration) -> Self {
        Self { grace }
    }

    /// Reads what [`Self::text`] wrote, or a person has: `2s`, `1m30s`. `None` where that is no time above zero.
    pub fn parse(text: &str) -> Option<Self> {
        let grace = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
        (!grace.is_zero()).then_some(Self { grace })
    }

    /// As [`Self::parse`] reads it.
    pub fn text(self) -> String {
        format!("{:#}", SignedDuration::try_from(self.grace).unwrap_or(SignedDuration::MAX))
    }

    /// How long a node may be silent before it counts as unreachable.
    pub const fn grace(self) -> Duration {
        self.grace
    }

    /// How often a node renews its Lease.
    pub fn renew_interval(self) -> Duration {
        self.grace / PARTS
    }

    /// How much sooner than the master a node believes that its pods are given to others: clocks that differ, and ending them,
    /// fit in.
    pub fn margin(self) -> Duration {
        self.grace / PARTS
    }

    /// `spec.leaseDurationSeconds`: whole seconds, one at least.
    pub fn duration_seconds(self) -> i32 {
        i32::try_from(self.grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_follows_from_the_grace() {
        let check = |text: &str, renew_millis: u64, seconds: i32, again: &str| {
            let lease = NodeLease::parse(text).unwrap();
            let millis = Duration::from_millis(renew_millis);
            assert_eq!((lease.renew_interval(), lease.margin(), lease.duration_seconds()), (millis, millis, seconds));
            assert_eq!(lease.text(), again);
            assert_eq!(NodeLease::parse(&lease.text()), Some(lease));
        };
        check("2s", 500, 2, "2s");
        check("40s", 10_000, 40, "40s");
        check("1m30s", 22_500, 90, "1m 30s");
        check("1500ms", 375, 2, "1s 500ms");
        for wrong in ["", "0s", "-1s", "2", "soon"] {
            assert_eq!(NodeLease::parse(wrong), None, "{wrong}");
        }
    }
}
