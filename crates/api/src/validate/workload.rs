//! Faults of Deployments and ReplicaSets. Follows `k8s.io/kubernetes/pkg/apis/apps/validation`.

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kinds::{Deployment, ReplicaSet};
use crate::selector::Labels;
use crate::validate::path::{Faults, Path};
use crate::validate::{meta, names, pod};

pub(crate) fn deployment(deployment: &Deployment, faults: &mut Faults) {
    let at = Path::Root("spec");
    let Some(spec) = &deployment.spec else { return faults.required(&at, "") };
    faults.not_negative(&at.field("replicas"), spec.replicas.map(i64::from));
    faults.not_negative(&at.field("minReadySeconds"), spec.min_ready_seconds.map(i64::from));
    faults.not_negative(&at.field("revisionHistoryLimit"), spec.revision_history_limit.map(i64::from));
    selector(&spec.selector, Some(&spec.template), &at, faults);
    template(Some(&spec.template), &at.field("template"), faults);
    if let Some(own) = &spec.strategy {
        strategy(own, &at.field("strategy"), faults);
    }
    let (deadline, ready) = (spec.progress_deadline_seconds, spec.min_ready_seconds.unwrap_or(0));
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= ready) {
        faults.invalid(&at.field("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
    }
}

pub(crate) fn deployment_update(deployment: &Deployment, old: &Deployment, faults: &mut Faults) {
    let selector = |d: &Deployment| d.spec.as_ref().map(|spec| spec.selector.clone());
    faults.immutable(&Path::Root("spec").field("selector"), &selector(deployment), &selector(old));
}

pub(crate) fn replica_set(set: &ReplicaSet, faults: &mut Faults) {
    let at = Path::Root("spec");
    let Some(spec) = &set.spec else { return faults.required(&at, "") };
    faults.not_negative(&at.field("replicas"), spec.replicas.map(i64::from));
    faults.not_negative(&at.field("minReadySeconds"), spec.min_ready_seconds.map(i64::from));
    selector(&spec.selector, spec.template.as_ref(), &at, faults);
    template(spec.template.as_ref(), &at.field("template"), faults);
}

pub(crate) fn replica_set_update(set: &ReplicaSet, old: &ReplicaSet, faults: &mut Faults) {
    let selector = |s: &ReplicaSet| s.spec.as_ref().map(|spec| spec.selector.clone());
    faults.immutable(&Path::Root("spec").field("selector"), &selector(set), &selector(old));
}

/// A selector must be there, be readable, and choose the template's pods.
fn selector(selector: &LabelSelector, template: Option<&PodTemplateSpec>, at: &Path<'_>, faults: &mut Faults) {
    let own = at.field("selector");
    let chosen = match Labels::from_selector(selector) {
        Ok(chosen) if chosen.is_empty() => {
            return faults.invalid(&own, selector, "empty selector is invalid for deployment");
        }
        Ok(chosen) => chosen,
        Err(why) => return faults.invalid(&own, selector, &why),
    };
    let labels = template.and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.clone()).unwrap_or_default();
    if !chosen.matches(&labels) {
        let at = at.field("template");
        let at = at.field("metadata");
        faults.invalid(&at.field("labels"), &labels, "`selector` does not match template `labels`");
    }
}

fn template(template: Option<&PodTemplateSpec>, at: &Path<'_>, faults: &mut Faults) {
    let metadata = template.and_then(|t| t.metadata.as_ref());
    let at_metadata = at.field("metadata");
    meta::labels(metadata.and_then(|m| m.labels.as_ref()), &at_metadata.field("labels"), faults);
    meta::annotations(metadata.and_then(|m| m.annotations.as_ref()), &at_metadata.field("annotations"), faults);
    let at = at.field("spec");
    let Some(spec) = template.and_then(|t| t.spec.as_ref()) else { return faults.required(&at, "") };
    pod::pod_spec(spec, &at, faults);
    if spec.active_deadline_seconds.is_some() {
        faults.forbidden(&at.field("activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
    if let Some(policy) = spec.restart_policy.as_deref().filter(|policy| *policy != "Always") {
        faults.unsupported(&at.field("restartPolicy"), policy, &["Always"]);
    }
}

fn strategy(strategy: &DeploymentStrategy, at: &Path<'_>, faults: &mut Faults) {
    let kind = strategy.type_.as_deref();
    faults.one_of(&at.field("type"), kind, &["Recreate", "RollingUpdate"]);
    let rolling_at = at.field("rollingUpdate");
    let Some(rolling) = &strategy.rolling_update else { return };
    if kind == Some("Recreate") {
        return faults.forbidden(&rolling_at, "may not be specified when strategy `type` is 'Recreate'");
    }
    count(rolling.max_surge.as_ref(), &rolling_at.field("maxSurge"), faults);
    count(rolling.max_unavailable.as_ref(), &rolling_at.field("maxUnavailable"), faults);
    if let Some(IntOrString::String(text)) = &rolling.max_unavailable
        && names::percent(text).is_ok_and(|percent| percent > 100)
    {
        faults.invalid(&rolling_at.field("maxUnavailable"), text, "must not be greater than 100%");
    }
    let is_zero = |value: &Option<IntOrString>| match value {
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => names::percent(text) == Ok(0),
        None => false,
    };
    if is_zero(&rolling.max_surge) && is_zero(&rolling.max_unavailable) {
        faults.invalid(&rolling_at.field("maxUnavailable"), 0, "may not be 0 when `maxSurge` is 0");
    }
}

pub(super) fn count(value: Option<&IntOrString>, at: &Path<'_>, faults: &mut Faults) {
    match value {
        Some(IntOrString::Int(number)) => faults.not_negative(at, Some(i64::from(*number))),
        Some(IntOrString::String(text)) => {
            if let Err(why) = names::percent(text) {
                faults.invalid(at, text, &why);
            }
        }
        None => {}
    }
}
