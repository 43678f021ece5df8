//! A deployment's counts and conditions, in the words that `kubectl rollout status` reads.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::k8s_openapi::api::apps::v1::DeploymentCondition;
use wherry_api::kinds::{Deployment, ReplicaSet};

use super::{Rolling, rollout};
use crate::plan::Plan;
use crate::replicaset::same_status;

/// The counts of all sets together.
struct Counts {
    all: i32,
    updated: i32,
    ready: i32,
    available: i32,
}

/// Writes the status where it has changed.
pub(crate) fn report(rolling: &Rolling<'_>, plan: &mut Plan) {
    let counts = count(rolling);
    let mut status = json!({
        "observedGeneration": rolling.deployment.metadata.generation,
        "replicas": counts.all, "updatedReplicas": counts.updated, "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": (rolling.wanted().max(counts.all) - counts.available).max(0),
    });
    let fresh = [available(rolling, &counts), progressing(rolling, &counts, plan)];
    let is_same = same_status(rolling.deployment.status.as_ref(), &status)
        && fresh.iter().all(|condition| same_condition(rolling, condition));
    if is_same {
        return;
    }
    let conditions: Vec<Value> = fresh.into_iter().map(|condition| stamped(rolling, condition)).collect();
    if let Some(map) = status.as_object_mut() {
        map.insert("conditions".into(), conditions.into());
    }
    plan.status::<Deployment>(rolling.key, &rolling.deployment.metadata, status);
}

fn count(rolling: &Rolling<'_>) -> Counts {
    let sum = |of: fn(&ReplicaSet) -> i32| rolling.all().map(|set| of(set)).sum();
    let replicas = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    Counts {
        all: sum(replicas),
        updated: rolling.new.map_or(0, |set| replicas(set)),
        ready: sum(|set| set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)),
        available: sum(|set| set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)),
    }
}

fn available(rolling: &Rolling<'_>, counts: &Counts) -> Value {
    if counts.available >= rolling.wanted() - rollout::unavailable(rolling) {
        condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".into())
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", message.into())
    }
}

fn progressing(rolling: &Rolling<'_>, counts: &Counts, plan: &mut Plan) -> Value {
    let name = rolling.new.and_then(|set| set.metadata.name.clone()).unwrap_or_default();
    let wanted = rolling.wanted();
    if rolling.is_paused() {
        return condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".into());
    }
    if rolling.new.is_some() && counts.updated == wanted && counts.all == wanted && counts.available == wanted {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return condition("Progressing", "True", "NewReplicaSetAvailable", message);
    }
    match deadline(rolling, counts) {
        Some(Duration::ZERO) => {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            condition("Progressing", "False", "ProgressDeadlineExceeded", message)
        }
        left => {
            left.into_iter().for_each(|left| plan.look_again(left));
            condition("Progressing", "True", "ReplicaSetUpdated", format!("ReplicaSet \"{name}\" is progressing."))
        }
    }
}

/// How long the rollout may still go without progress; `None` where there is no limit.
fn deadline(rolling: &Rolling<'_>, counts: &Counts) -> Option<Duration> {
    let seconds = rolling.deployment.spec.as_ref()?.progress_deadline_seconds.filter(|s| *s < i32::MAX)?;
    let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let before = present(rolling, "Progressing").filter(|c| c.reason.as_deref() != Some("NewReplicaSetAvailable"));
    let Some(before) = before.filter(|_| !moved(rolling, counts)) else { return Some(whole) };
    let since = before.last_update_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let gone = rolling.view.now.as_second().saturating_sub(since.as_second());
    Some(whole.saturating_sub(Duration::from_secs(u64::try_from(gone).unwrap_or(0))))
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

fn condition(kind: &str, status: &str, reason: &str, message: String) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

fn present<'a>(rolling: &'a Rolling<'_>, kind: &str) -> Option<&'a DeploymentCondition> {
    let conditions = rolling.deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn same_condition(rolling: &Rolling<'_>, fresh: &Value) -> bool {
    present(rolling, text(fresh, "type")).is_some_and(|before| {
        before.status == text(fresh, "status")
            && before.reason.as_deref() == Some(text(fresh, "reason"))
            && before.message.as_deref() == Some(text(fresh, "message"))
    })
}

fn stamped(rolling: &Rolling<'_>, mut fresh: Value) -> Value {
    let now = rolling.view.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let before = present(rolling, text(&fresh, "type"));
    let kept = before.filter(|before| before.status == text(&fresh, "status"));
    let turned = kept.and_then(|before| before.last_transition_time.as_ref());
    let turned = turned.map_or_else(|| now.clone(), |time| time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    if let Some(map) = fresh.as_object_mut() {
        map.insert("lastUpdateTime".into(), now.into());
        map.insert("lastTransitionTime".into(), turned.into());
    }
    fresh
}
