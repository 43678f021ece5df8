//! Taints that drive pods away, and how long pods bear them. Follows `k8s.io/kubernetes/pkg/controller/tainteviction`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// The taint of a node that says itself that it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node that says nothing.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The effect that keeps pods away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// The effect that drives pods away.
pub const NO_EXECUTE: &str = "NoExecute";

/// How long a taint is borne: the shortest of the tolerations for it; `None` where there is none, the most where it
/// is borne for ever.
pub fn borne(tolerations: &[Toleration], taint: &Taint) -> Option<Duration> {
    let matching = tolerations.iter().filter(|toleration| tolerates(toleration, taint));
    let seconds = |toleration: &Toleration| match toleration.toleration_seconds {
        None => Duration::MAX,
        Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    };
    matching.map(seconds).min()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let is_any_value = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || key.is_empty() && is_any_value)
        && (is_any_value || value == taint.value.as_deref().unwrap_or_default())
}
