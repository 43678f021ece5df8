//! Pods that do not bear their node's taints, at once or when their time is over; pods whose node is gone.

use std::time::Duration;

use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::core::v1::Taint;
use wherry_api::kinds::{Node, Pod};
use wherry_api::taint::{NO_EXECUTE, UNREACHABLE, borne};

use super::passed;
use crate::plan::{Plan, Subject};
use crate::world::View;

/// How long a node must be missing before its pods are: the informers of nodes and pods are not in step.
const MISSING_LEAST: Duration = Duration::from_secs(40);
const NO_NODE: &str = "no such node";

/// Removes the pods of a node that is gone; no kubelet will end them.
pub(super) fn clear_away(view: &View, key: &ObjectKey, plan: &mut Plan) {
    let noted = view.notes.get(key);
    let mut pods = view.pods_on(&key.name).peekable();
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

/// Deletes the pods that do not, or no longer, bear the node's taints; looks again when the next one's time is over. That
/// it is unreachable counts only while it is, and as long as this silence has lasted beyond its grace: a node that was
/// heard holds its pods by that, whatever taint it has yet.
pub(super) fn evict(view: &View, key: &ObjectKey, node: &Node, silence: Option<Duration>, plan: &mut Plan) {
    let all = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let taints: Vec<&Taint> = all.iter().filter(|taint| taint.effect == NO_EXECUTE).collect();
    if taints.is_empty() {
        return;
    }
    let mut is_untimed = false;
    for pod in view.pods_on(&key.name).filter(|pod| !pod.is_deleting()) {
        let left = taints.iter().map(|taint| {
            let borne = borne(&pod.tolerations, taint);
            is_untimed |= taint.time_added.is_none() && borne.is_some_and(|borne| borne < Duration::MAX);
            let age = match silence {
                _ if taint.key != UNREACHABLE => age(view, key, taint),
                Some(silence) => silence.min(age(view, key, taint)),
                None => return Duration::MAX,
            };
            borne.unwrap_or_default().saturating_sub(age)
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

/// How long ago a taint came at the least: since it was made, or first seen, here; else as it says itself, in whole
/// seconds. A node counts on that (`docs/adr/0008`).
fn age(view: &View, key: &ObjectKey, taint: &Taint) -> Duration {
    match (view.notes.get(&about(key, &taint.key)), &taint.time_added) {
        (Some(note), _) => passed(note.since, view.now),
        (None, Some(added)) => passed(added.0, view.now).saturating_sub(Duration::from_secs(1)),
        (None, None) => Duration::ZERO,
    }
}

fn note_untimed(view: &View, key: &ObjectKey, taints: &[&Taint], plan: &mut Plan) {
    for taint in taints.iter().filter(|taint| taint.time_added.is_none()) {
        let about = about(key, &taint.key);
        if !view.notes.contains_key(&about) {
            plan.note(&about, &taint.key, view.now);
        }
    }
}

/// Where it is noted when a node's taint came.
pub(super) fn about(key: &ObjectKey, taint: &str) -> ObjectKey {
    ObjectKey::new(&key.name, taint)
}
