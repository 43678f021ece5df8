//! Defaults of deployments and replica sets.

use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{pod, text};
use crate::kinds::{Deployment, ReplicaSet};

/// Defaults of a deployment.
pub(crate) fn deployment(deployment: &mut Deployment) {
    let Some(spec) = &mut deployment.spec else { return };
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    spec.progress_deadline_seconds.get_or_insert(600);
    strategy(spec.strategy.get_or_insert_default());
    template(&mut spec.template);
}

fn strategy(strategy: &mut DeploymentStrategy) {
    text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let quarter = || IntOrString::String("25%".into());
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDeployment::default);
        rolling.max_surge.get_or_insert_with(quarter);
        rolling.max_unavailable.get_or_insert_with(quarter);
    }
}

/// Defaults of a replica set.
pub(crate) fn replica_set(set: &mut ReplicaSet) {
    let Some(spec) = &mut set.spec else { return };
    spec.replicas.get_or_insert(1);
    spec.template.iter_mut().for_each(template);
}

fn template(template: &mut PodTemplateSpec) {
    template.spec.iter_mut().for_each(pod::template_spec);
}
