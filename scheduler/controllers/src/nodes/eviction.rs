//! Pods that do not bear their node's taints, at once or when their time is over; pods whose node is gone.

use std::time::Duration;

use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::{Taint, Toleration};
use wherry_api::kinds::{Node, Pod};

use super::{passed, pods_on};
use crate::plan::{Plan, Subject};
use crate::world::View;

/// How long a node must be missing before its pods are: the informers of nodes and pods are not in step.
const MISSING_LEAST: Duration = Duration::from_secs(40);
const NO_NODE: &str = "no such node";

/// Removes the pods of a node that is gone; no kubelet will end them.
pub(super) fn clear_away(view: &View, key: &ObjectKey, plan: &mut Plan) {
    let noted = view.notes.get(key);
    let mut pods = pods_on(view, &key.name).peekable();
    if pods.peek().is_none() {
        if noted.is_some() {
            plan.forget(key);
        }
        return;
    }
    if noted.is_none() {
        plan.note(key, NO_NODE, view.now);
    }
    let missing = passed(noted.map_or(view.now, |note| note.since), view.now);
    match MISSING_LEAST.checked_sub(missing).filter(|left| !left.is_zero()) {
        Some(left) => plan.look_again(left),
        None => pods.for_each(|pod| plan.delete_at_once::<Pod>(&pod.key, &pod.meta)),
    }
}

/// Deletes the pods that do not, or no longer, bear the node's taints; looks again when the next one's time is over.
pub(super) fn evict(view: &View, key: &ObjectKey, node: &Node, plan: &mut Plan) {
    let all = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let taints: Vec<&Taint> = all.iter().filter(|taint| taint.effect == "NoExecute").collect();
    if taints.is_empty() {
        return;
    }
    let mut is_untimed = false;
    for pod in pods_on(view, &key.name).filter(|pod| !pod.is_deleting()) {
        let left = taints.iter().map(|taint| {
            let borne = borne(&pod.tolerations, taint);
            is_untimed |= taint.time_added.is_none() && borne.is_some_and(|borne| borne < Duration::MAX);
            borne.unwrap_or_default().saturating_sub(age(view, key, taint))
        });
        match left.min().unwrap_or(Duration::MAX) {
            Duration::ZERO => {
                let subject = Subject::of::<Pod>(&pod.key, &pod.meta);
                let message = format!("Marking for deletion Pod {}", pod.key);
                plan.actions.push(subject.told(false, "TaintManagerEviction", message));
                plan.delete::<Pod>(&pod.key, &pod.meta, None);
            }
            Duration::MAX => {}
            left => plan.look_again(left),
        }
    }
    if is_untimed {
        note_untimed(view, key, &taints, plan);
    }
}

/// How long ago a taint came: as it says itself, or since it was first seen here.
fn age(view: &View, key: &ObjectKey, taint: &Taint) -> Duration {
    let noted = || view.notes.get(&about(key, taint)).map(|note| note.since);
    passed(taint.time_added.as_ref().map(|time| time.0).or_else(noted).unwrap_or(view.now), view.now)
}

fn note_untimed(view: &View, key: &ObjectKey, taints: &[&Taint], plan: &mut Plan) {
    for taint in taints.iter().filter(|taint| taint.time_added.is_none()) {
        let about = about(key, taint);
        if !view.notes.contains_key(&about) {
            plan.note(&about, &taint.key, view.now);
        }
    }
}

fn about(key: &ObjectKey, taint: &Taint) -> ObjectKey {
    ObjectKey::new(&key.name, &taint.key)
}

/// How long a taint is borne: the shortest of the tolerations for it; `None` where there is none, the most where it
/// is borne for ever.
fn borne(tolerations: &[Toleration], taint: &Taint) -> Option<Duration> {
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
