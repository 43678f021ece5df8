//! A deployment's counts and conditions, in the words that `kubectl rollout status` reads. Follows `progress.go`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use wherry_api::k8s_openapi::api::apps::v1::DeploymentCondition;
use wherry_api::kinds::{Deployment, ReplicaSet, Time};

use super::{Rolling, rollout};
use crate::plan::Plan;
use crate::replicaset::{nonzero, same_status, wanted};

const PROGRESSING: &str = "Progressing";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// What a plan does with the rollout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// Nothing: only sizes change.
    Still,
    /// This set begins it.
    Created(&'a str),
    /// It goes on.
    Rolling,
}

/// The counts of all sets together.
struct Counts {
    all: i32,
    asked: i32,
    updated: i32,
    ready: i32,
    available: i32,
    terminating: i32,
}

/// Whether the status that is written says that the rollout is complete.
pub(super) fn is_complete(rolling: &Rolling<'_>) -> bool {
    let status = rolling.deployment.status.clone().unwrap_or_default();
    let wanted = rolling.wanted();
    [status.replicas, status.updated_replicas, status.available_replicas].map(Option::unwrap_or_default) == [wanted; 3]
        && status.observed_generation >= rolling.deployment.metadata.generation
}

/// Writes the status where it has changed.
pub(super) fn report(rolling: &Rolling<'_>, stage: Stage<'_>, plan: &mut Plan) {
    let counts = count(rolling);
    let before = rolling.deployment.status.as_ref();
    let mut conditions = before.and_then(|status| status.conditions.clone()).unwrap_or_default();
    put(rolling, &mut conditions, available(rolling, &counts));
    progress(rolling, &counts, stage, &mut conditions);
    let mut status = json!({
        "observedGeneration": rolling.deployment.metadata.generation,
        "replicas": nonzero(counts.all), "updatedReplicas": nonzero(counts.updated),
        "readyReplicas": nonzero(counts.ready), "availableReplicas": nonzero(counts.available),
        "unavailableReplicas": nonzero((counts.asked - counts.available).max(0)),
        "terminatingReplicas": counts.terminating,
    });
    let is_same = before.is_some_and(|before| before.conditions.as_deref().unwrap_or_default() == conditions);
    if stage == Stage::Rolling {
        look_again(rolling, &conditions, plan);
    }
    if is_same && same_status(before, &status) {
        return;
    }
    if let Some(map) = status.as_object_mut() {
        map.insert("conditions".into(), conditions.iter().map(|condition| json!(condition)).collect());
    }
    plan.status::<Deployment>(rolling.key, &rolling.deployment.metadata, status);
}

fn count(rolling: &Rolling<'_>) -> Counts {
    let sum = |of: fn(&ReplicaSet) -> i32| rolling.all().map(|set| of(set)).sum();
    let replicas = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    Counts {
        all: sum(replicas),
        asked: sum(wanted),
        updated: rolling.new.map_or(0, |set| replicas(set)),
        ready: sum(|set| set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)),
        available: sum(|set| set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)),
        terminating: sum(|set| set.status.as_ref().and_then(|s| s.terminating_replicas).unwrap_or(0)),
    }
}

fn available(rolling: &Rolling<'_>, counts: &Counts) -> DeploymentCondition {
    if counts.available >= rolling.wanted() - rollout::unavailable(rolling) {
        let message = "Deployment has minimum availability.";
        condition("Available", "True", "MinimumReplicasAvailable", message.to_owned())
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", message.to_owned())
    }
}

/// How the rollout gets on, if anybody wants to know.
fn progress(rolling: &Rolling<'_>, counts: &Counts, stage: Stage<'_>, conditions: &mut Vec<DeploymentCondition>) {
    if deadline(rolling).is_none() {
        return conditions.retain(|condition| condition.type_ != PROGRESSING);
    }
    note_pause(rolling, conditions);
    let name = rolling.new.and_then(|set| set.metadata.name.clone());
    match (stage, &name) {
        (Stage::Created(name), _) => {
            let message = format!("Created new replica set \"{name}\"");
            put(rolling, conditions, condition(PROGRESSING, "True", "NewReplicaSetCreated", message));
        }
        (_, Some(name)) if find(conditions).is_none() => {
            let message = format!("Found new replica set \"{name}\"");
            put(rolling, conditions, condition(PROGRESSING, "True", "FoundNewReplicaSet", message));
        }
        _ => {}
    }
    let is_over = counts.all == counts.updated && reason(conditions) == Some(COMPLETE);
    if stage == Stage::Still || is_over {
        return;
    }
    let subject =
        name.map_or_else(|| format!("Deployment \"{}\"", rolling.key.name), |name| format!("ReplicaSet \"{name}\""));
    if [counts.updated, counts.all, counts.available] == [rolling.wanted(); 3] && rolling.new.is_some() {
        let message = format!("{subject} has successfully progressed.");
        put(rolling, conditions, condition(PROGRESSING, "True", COMPLETE, message));
    } else if moved(rolling, counts) {
        let message = format!("{subject} is progressing.");
        replace(rolling, conditions, condition(PROGRESSING, "True", "ReplicaSetUpdated", message));
    } else if left(rolling, conditions).is_some_and(|left| left <= 0) {
        let message = format!("{subject} has timed out progressing.");
        put(rolling, conditions, condition(PROGRESSING, "False", TIMED_OUT, message));
    }
}

/// A pause and its end; a rollout that has timed out is not said to be paused.
fn note_pause(rolling: &Rolling<'_>, conditions: &mut Vec<DeploymentCondition>) {
    let was_paused = reason(conditions) == Some(PAUSED);
    if reason(conditions) == Some(TIMED_OUT) || was_paused == rolling.is_paused() {
        return;
    }
    let fresh = if rolling.is_paused() {
        condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned())
    } else {
        condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned())
    };
    put(rolling, conditions, fresh);
}

/// How many seconds a rollout may be without progress; `None` where there is no limit.
fn deadline(rolling: &Rolling<'_>) -> Option<i64> {
    let seconds = rolling.deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds < i32::MAX).then_some(i64::from(seconds))
}

/// How many seconds are left until the rollout counts as stuck; `None` where it is not under way.
fn left(rolling: &Rolling<'_>, conditions: &[DeploymentCondition]) -> Option<i64> {
    let present = find(conditions).filter(|c| !matches!(c.reason.as_deref(), Some(COMPLETE | TIMED_OUT)))?;
    let since = present.last_update_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Some(deadline(rolling)? - rolling.view.now.as_second().saturating_sub(since.as_second()))
}

fn look_again(rolling: &Rolling<'_>, conditions: &[DeploymentCondition], plan: &mut Plan) {
    if let Some(left) = left(rolling, conditions) {
        plan.look_again(Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1));
    }
}

/// Whether pods became updated, ready or available, or old ones went, since the status was written.
fn moved(rolling: &Rolling<'_>, counts: &Counts) -> bool {
    let before = rolling.deployment.status.clone().unwrap_or_default();
    let old_before = before.replicas.unwrap_or(0) - before.updated_replicas.unwrap_or(0);
    counts.updated > before.updated_replicas.unwrap_or(0)
        || counts.ready > before.ready_replicas.unwrap_or(0)
        || counts.available > before.available_replicas.unwrap_or(0)
        || counts.all - counts.updated < old_before
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

fn find(conditions: &[DeploymentCondition]) -> Option<&DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == PROGRESSING)
}

fn reason(conditions: &[DeploymentCondition]) -> Option<&str> {
    find(conditions)?.reason.as_deref()
}

/// Sets a condition; one that says the same, status and reason, stays as it is.
fn put(rolling: &Rolling<'_>, conditions: &mut Vec<DeploymentCondition>, fresh: DeploymentCondition) {
    let mut same = conditions.iter().filter(|c| c.type_ == fresh.type_ && c.status == fresh.status);
    if !same.any(|before| before.reason == fresh.reason) {
        replace(rolling, conditions, fresh);
    }
}

/// Sets a condition; the time of its last turn stays where its status does.
fn replace(rolling: &Rolling<'_>, conditions: &mut Vec<DeploymentCondition>, mut fresh: DeploymentCondition) {
    let now = Time(Timestamp::from_second(rolling.view.now.as_second()).unwrap_or(rolling.view.now));
    let before = conditions.iter().find(|condition| condition.type_ == fresh.type_);
    let turned = before.filter(|before| before.status == fresh.status).and_then(|b| b.last_transition_time.clone());
    fresh.last_transition_time = turned.or_else(|| Some(now.clone()));
    fresh.last_update_time = Some(now);
    conditions.retain(|condition| condition.type_ != fresh.type_);
    conditions.push(fresh);
}
