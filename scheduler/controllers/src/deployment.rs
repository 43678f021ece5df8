//! Deployments: one ReplicaSet a template, moved from the old ones to the new one within the strategy's bounds.
//!
//! Follows `k8s.io/kubernetes/pkg/controller/deployment`: a change of size is shared out first, then the rollout goes
//! on; a paused deployment is sized and cleared, but not rolled.

mod claim;
mod rollout;
mod scaling;
mod sets;
mod status;

use std::sync::Arc;

use wherry_api::ObjectKey;
use wherry_api::kinds::{Deployment, ReplicaSet};

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::pods::PodView;
use crate::world::{View, World, controller, uid, within};

pub(crate) struct Deployments;

/// A deployment with its sets.
pub(crate) struct Rolling<'a> {
    pub(crate) view: &'a View,
    pub(crate) key: &'a ObjectKey,
    pub(crate) deployment: &'a Deployment,
    /// The set of the present template, if there is one yet.
    pub(crate) new: Option<&'a Arc<ReplicaSet>>,
    /// The others, oldest first.
    pub(crate) old: Vec<&'a Arc<ReplicaSet>>,
}

impl Controller for Deployments {
    const NAME: &'static str = "deployment-controller";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.deployments);
        let known = Arc::clone(world);
        sources.follow(&world.replica_sets, move |key, set| match controller(&set.metadata) {
            Some(owner) => vec![ObjectKey::new(&key.namespace, &owner.name)],
            // An orphan may be adopted by any deployment of its namespace.
            None => within(&known.deployments.snapshot(), &key.namespace).map(|(key, _)| key.clone()).collect(),
        });
        let known = Arc::clone(world);
        sources.follow(&world.pods, move |key, pod| awaited_by(&known, key, pod).into_iter().collect());
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(deployment) = view.deployments.get(key) else { return plan };
        if deployment.spec.is_none() {
            return plan;
        }
        let rolling = Rolling::read(view, key, deployment, &mut plan);
        if !plan.actions.is_empty() {
            return plan;
        }
        if deployment.metadata.deletion_timestamp.is_some() {
            status::report(&rolling, status::Stage::Still, &mut plan);
        } else if rolling.is_paused() || scaling::is_due(&rolling) {
            resize(&rolling, &mut plan);
        } else {
            roll(&rolling, &mut plan);
        }
        plan
    }
}

/// Brings sets to a new size, without going on with a rollout.
fn resize(rolling: &Rolling<'_>, plan: &mut Plan) {
    if sets::keep_new(rolling, plan) {
        return;
    }
    scaling::scale(rolling, plan);
    if rolling.is_paused() {
        sets::clean_up(rolling, plan);
    }
    status::report(rolling, status::Stage::Still, plan);
    sets::number(rolling, plan);
}

fn roll(rolling: &Rolling<'_>, plan: &mut Plan) {
    if rolling.new.is_none() && rollout::may_begin(rolling) {
        let created = sets::create(rolling, plan);
        if let Some(name) = created {
            status::report(rolling, status::Stage::Created(&name), plan);
        }
        return;
    }
    if sets::keep_new(rolling, plan) {
        return;
    }
    rollout::roll(rolling, plan);
    if status::is_complete(rolling) {
        sets::clean_up(rolling, plan);
    }
    status::report(rolling, status::Stage::Rolling, plan);
    sets::number(rolling, plan);
}

/// The deployment that waits for a pod's end before it makes new ones.
fn awaited_by(world: &World, key: &ObjectKey, pod: &PodView) -> Option<ObjectKey> {
    let set = world.replica_sets.get(&ObjectKey::new(&key.namespace, &controller(&pod.meta)?.name))?;
    let key = ObjectKey::new(&key.namespace, &controller(&set.metadata)?.name);
    let deployment = world.deployments.get(&key)?;
    rollout::is_recreate(&deployment).then_some(key)
}

impl<'a> Rolling<'a> {
    /// Finds the deployment's sets; those that it adopts or releases are in the plan.
    fn read(view: &'a View, key: &'a ObjectKey, deployment: &'a Deployment, plan: &mut Plan) -> Self {
        let sets = within(&view.replica_sets, &key.namespace).map(|(_, set)| set);
        let mut sets: Vec<_> = sets.filter(|set| claim::is_claimed(deployment, key, set, plan)).collect();
        sets.sort_by_key(|set| set.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let new = sets.iter().copied().find(|set| sets::has_template(set, deployment));
        let old = sets.into_iter().filter(|set| new.is_none_or(|new| !Arc::ptr_eq(set, new))).collect();
        Self { view, key, deployment, new, old }
    }

    pub(crate) fn wanted(&self) -> i32 {
        self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
    }

    /// The old sets and the new one.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'a Arc<ReplicaSet>> {
        self.old.iter().copied().chain(self.new)
    }

    /// The pods of a set, those that end included.
    pub(crate) fn pods_of(&self, set: &'a ReplicaSet) -> impl Iterator<Item = &'a PodView> {
        self.view.pods_of(uid(&set.metadata)).map(|pod| &**pod)
    }
}
