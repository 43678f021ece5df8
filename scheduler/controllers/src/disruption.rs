//! How many pods a disruption budget lets go: its status, which evictions count down.
//!
//! Follows Kubernetes' `disruption` controller. A percentage, and `maxUnavailable`, are counted from what the pods'
//! Deployments and ReplicaSets want; pods that nobody controls count as themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::api::policy::v1::{PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use wherry_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_api::kinds::{PodDisruptionBudget, Time};
use wherry_api::selector::Labels;

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::pods::PodRef;
use crate::world::{View, World, controller, within};

/// How long an eviction may take to show as a deletion before its pod counts as there again.
const EVICTION_MOST: Duration = Duration::from_secs(120);

pub(crate) struct DisruptionBudgets;

impl Controller for DisruptionBudgets {
    const NAME: &'static str = "disruption-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.budgets);
        let known = Arc::clone(world);
        let of_pod = move |pod: &PodRef| {
            let budgets = known.budgets.snapshot();
            let all = within(&budgets, &pod.key.namespace).filter(|(_, budget)| selects(budget, pod));
            all.map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        sources.follow_changes(&world.pods, move |_, old, new| {
            let concern = |pod: &PodRef| (pod.ready.is_some(), pod.is_active(), pod.labels().clone());
            let pods = old.into_iter().chain(new).filter(|_| old.map(concern) != new.map(concern));
            pods.flat_map(&of_pod).collect()
        });
        // What is wanted of pods counts too.
        for_sets(world, sources);
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(budget) = view.budgets.get(key) else { return plan };
        let Some(spec) = &budget.spec else { return plan };
        let pods: Vec<&PodRef> = within(&view.pods, &key.namespace).map(|(_, pod)| pod).collect();
        let pods: Vec<&PodRef> = pods.into_iter().filter(|pod| pod.is_active() && selects(budget, pod)).collect();
        let mut before = budget.status.clone().unwrap_or_default();
        before.disrupted_pods = before.disrupted_pods.filter(|pods| !pods.is_empty());
        let disrupted = still_disrupted(&before, &pods, view.now, &mut plan);
        let status = status(view, budget, spec, &pods, disrupted);
        if status != before {
            plan.status::<PodDisruptionBudget>(key, &budget.metadata, merging(&before, &status));
        }
        plan
    }
}

fn for_sets(world: &Arc<World>, sources: &Sources<ObjectKey>) {
    let of_namespace = |world: &Arc<World>| {
        let known = Arc::clone(world);
        move |namespace: &str| {
            let budgets = known.budgets.snapshot();
            within(&budgets, namespace).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        }
    };
    let all = of_namespace(world);
    sources.follow(&world.replica_sets, move |key, _| all(&key.namespace));
    let all = of_namespace(world);
    sources.follow(&world.deployments, move |key, _| all(&key.namespace));
}

/// A budget without a selector selects nothing, one with an empty selector all pods of its namespace.
fn selects(budget: &PodDisruptionBudget, pod: &PodRef) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.and_then(|selector| Labels::from_selector(selector).ok());
    selector.is_some_and(|selector| selector.matches(pod.labels()))
}

/// The evictions that do not show as deletions yet.
fn still_disrupted(
    before: &PodDisruptionBudgetStatus,
    pods: &[&PodRef],
    now: Timestamp,
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let mut kept = BTreeMap::new();
    for (name, since) in before.disrupted_pods.iter().flatten() {
        let age = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
        let left = EVICTION_MOST.saturating_sub(age);
        if !left.is_zero() && pods.iter().any(|pod| *pod.key.name == **name) {
            plan.look_again(left);
            kept.insert(name.clone(), since.clone());
        }
    }
    kept
}

/// A patch that makes the one status the other: what is gone from a map must be said.
fn merging(before: &PodDisruptionBudgetStatus, status: &PodDisruptionBudgetStatus) -> Value {
    let mut patch = json!(status);
    let kept = status.disrupted_pods.clone().unwrap_or_default();
    let gone = before.disrupted_pods.iter().flatten().filter(|(name, _)| !kept.contains_key(*name));
    let pods = kept
        .iter()
        .map(|(name, since)| (name.clone(), json!(since)))
        .chain(gone.map(|(name, _)| (name.clone(), Value::Null)));
    let pods: serde_json::Map<String, Value> = pods.collect();
    if let Some(map) = patch.as_object_mut() {
        map.insert("disruptedPods".to_owned(), pods.into());
    }
    patch
}

fn status(
    view: &View,
    budget: &PodDisruptionBudget,
    spec: &PodDisruptionBudgetSpec,
    pods: &[&PodRef],
    disrupted: BTreeMap<String, Time>,
) -> PodDisruptionBudgetStatus {
    let (expected, desired) = wanted(view, spec, pods);
    let is_healthy = |pod: &&&PodRef| pod.ready.is_some() && !disrupted.contains_key(&*pod.key.name);
    let healthy = i32::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 { 0 } else { healthy.saturating_sub(desired).max(0) };
    PodDisruptionBudgetStatus {
        conditions: None,
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disrupted_pods: Some(disrupted).filter(|disrupted| !disrupted.is_empty()),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        observed_generation: budget.metadata.generation,
    }
}

/// How many pods there should be, and how many of them must be healthy.
fn wanted(view: &View, spec: &PodDisruptionBudgetSpec, pods: &[&PodRef]) -> (i32, i32) {
    let present = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let expected = expected(view, pods);
            (expected, expected.saturating_sub(scaled(most, expected)).max(0))
        }
        (None, Some(IntOrString::Int(least))) => (present, *least),
        (None, Some(least)) => {
            let expected = expected(view, pods);
            (expected, scaled(least, expected))
        }
        (None, None) => (present, 0),
    }
}

/// A number, or a part of another, rounded up.
fn scaled(value: &IntOrString, of: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(100);
            i32::try_from((i64::from(of) * percent + 99) / 100).unwrap_or(i32::MAX)
        }
    }
}

/// What the pods' Deployments and ReplicaSets want together, and the pods that nobody controls.
fn expected(view: &View, pods: &[&PodRef]) -> i32 {
    let mut counted = BTreeSet::new();
    let mut sum = 0_i32;
    for pod in pods {
        let (owner, replicas) = replicas_of(view, pod).unwrap_or_else(|| (pod.key.to_string(), 1));
        if counted.insert(owner) {
            sum = sum.saturating_add(replicas);
        }
    }
    sum
}

/// The topmost controller of a pod, and how many pods it wants.
fn replicas_of(view: &View, pod: &PodRef) -> Option<(String, i32)> {
    let owner = controller(&pod.meta)?;
    let key = ObjectKey::new(&pod.key.namespace, &owner.name);
    let set = view.replica_sets.get(&key).filter(|set| set.metadata.uid.as_deref() == Some(&owner.uid))?;
    let deployment = controller(&set.metadata).and_then(|owner| {
        let deployment = view.deployments.get(&ObjectKey::new(&pod.key.namespace, &owner.name))?;
        Some((owner.uid.clone(), deployment.spec.as_ref()?.replicas.unwrap_or(1)))
    });
    deployment.or_else(|| Some((owner.uid.clone(), set.spec.as_ref()?.replicas.unwrap_or(1))))
}
