//! `eviction` of pods: a deletion that asks the disruption budgets first.
//!
//! Follows `k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go`. The budget's status is counted down in the same
//! breath as the eviction is granted, under the status' own revision, so that two evictions never take one allowance.

use serde_json::{Value, json};
use wherry_api::kinds::{Kind, LabelSelector, PodDisruptionBudget};
use wherry_api::selector::Labels;
use wherry_api::{Cause, Error, Reason};
use wherry_client::{DeleteOptions, Precondition};

use super::modify::ours;
use super::object::{decode, is_deleting, meta};
use super::{Registry, Target, WRITE_TRIES_MAX};

/// How many evictions of one budget may be under way.
const DISRUPTED_MAX: usize = 2000;
/// When to ask again for what a budget forbids now.
const RETRY_SECONDS: u16 = 10;

impl Registry {
    /// Deletes a pod as its eviction asks, if its disruption budget lets it go.
    pub(crate) async fn evict(&self, target: &Target, eviction: &Value, dry_run: bool) -> Result<(), Error> {
        let options = eviction.get("deleteOptions");
        let text = |pointer| options.and_then(|o| o.pointer(pointer)).and_then(Value::as_str).unwrap_or_default();
        let mut precondition = Precondition {
            uid: text("/preconditions/uid").to_owned(),
            resource_version: text("/preconditions/resourceVersion").to_owned(),
        };
        let dry = options.and_then(|o| o.get("dryRun")).and_then(Value::as_array).is_some_and(|dry| !dry.is_empty());
        let dry_run = dry_run || dry;
        let pod = decode(&*self.entry(target).ok_or_else(|| target.not_found())?)?;
        self.ask_budget(target, &pod, dry_run).await?;
        if precondition.uid.is_empty() {
            // Not the pod that has come in its place meanwhile.
            precondition.uid = meta(&pod, "uid").to_owned();
        }
        let grace_period_seconds = options.and_then(|o| o.get("gracePeriodSeconds")).and_then(Value::as_i64);
        let delete = DeleteOptions { grace_period_seconds, precondition, ..DeleteOptions::default() };
        self.delete(target, &delete, dry_run).await.map(drop)
    }

    /// Takes one of the evictions that the pod's budget allows.
    async fn ask_budget(&self, target: &Target, pod: &Value, dry_run: bool) -> Result<(), Error> {
        let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        if matches!(phase, "Pending" | "Succeeded" | "Failed") || is_deleting(pod) {
            return Ok(());
        }
        for _ in 0..WRITE_TRIES_MAX {
            let Some((budget, object)) = self.budget_of(target, pod)? else { return Ok(()) };
            if !is_ready(pod) && lets_unready_go(&object) {
                return Ok(());
            }
            let status = granted(&budget, &object, &target.key.name, &self.now())?;
            if dry_run {
                return Ok(());
            }
            let patch = json!({
                "metadata": {"resourceVersion": meta(&object, "resourceVersion")}, "status": status,
            });
            match self.patch(&budget, "status", wherry_client::PatchKind::Merge, &patch, &ours()).await {
                Err(error) if error.reason == Reason::Conflict => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(target.resource.conflict(&target.key.name, "its disruption budget changes too quickly; try again"))
    }

    /// The budget that selects a pod; an error where there are several.
    fn budget_of(&self, target: &Target, pod: &Value) -> Result<Option<(Target, Value)>, Error> {
        let resource = PodDisruptionBudget::resource();
        let labels = pod.pointer("/metadata/labels").and_then(|labels| serde_json::from_value(labels.clone()).ok());
        let labels = labels.unwrap_or_default();
        let mut found = None;
        let budgets = self.store().snapshot(resource);
        for (key, entry) in budgets.objects.iter() {
            if key.namespace != target.key.namespace {
                continue;
            }
            let object = decode(entry)?;
            let selector = object.pointer("/spec/selector").cloned();
            let selector = selector.and_then(|selector| serde_json::from_value::<LabelSelector>(selector).ok());
            let selector = selector.and_then(|selector| Labels::from_selector(&selector).ok());
            if !selector.is_some_and(|selector| selector.matches(&labels)) {
                continue;
            }
            if found.is_some() {
                let message =
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Error::new(Reason::InternalError, message));
            }
            found = Some((Target { resource, key: key.clone() }, object));
        }
        Ok(found)
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// A pod that is not ready disturbs nobody by going: always, or where enough others are healthy.
fn lets_unready_go(budget: &Value) -> bool {
    let policy = budget.pointer("/spec/unhealthyPodEvictionPolicy").and_then(Value::as_str);
    let (healthy, desired) = (number(budget, "/status/currentHealthy"), number(budget, "/status/desiredHealthy"));
    policy == Some("AlwaysAllow") || (desired > 0 && healthy >= desired)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let text = |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).map(str::to_owned);
    let mut ready = conditions.filter(|condition| text(condition, "type").as_deref() == Some("Ready"));
    ready.any(|condition| text(condition, "status").as_deref() == Some("True"))
}

/// The budget's status with one eviction less; an error where it allows none.
fn granted(budget: &Target, object: &Value, pod: &str, now: &str) -> Result<Value, Error> {
    let name = &*budget.key.name;
    if number(object, "/metadata/generation") > number(object, "/status/observedGeneration") {
        return Err(refused(name, &format!("The disruption budget {name} is still being processed by the server.")));
    }
    let under_way = object.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    let allowed = number(object, "/status/disruptionsAllowed");
    if allowed <= 0 || under_way >= DISRUPTED_MAX {
        let (desired, healthy) = (number(object, "/status/desiredHealthy"), number(object, "/status/currentHealthy"));
        return Err(refused(
            name,
            &format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"),
        ));
    }
    Ok(json!({"disruptionsAllowed": allowed - 1, "disruptedPods": {pod: now}}))
}

fn refused(budget: &str, why: &str) -> Error {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut error = Error::new(Reason::TooManyRequests, message).about("policy", "poddisruptionbudgets", budget);
    error.causes = vec![Cause { reason: "DisruptionBudget", field: String::new(), message: why.to_owned() }];
    error.retry_after_seconds = Some(RETRY_SECONDS);
    error
}
