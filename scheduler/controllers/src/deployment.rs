//! Deployments: one ReplicaSet a template, moved from the old ones to the new one within the strategy's bounds.

mod rollout;
mod sets;
mod status;

use std::sync::Arc;

use wherry_api::ObjectKey;
use wherry_api::kinds::{Deployment, ReplicaSet};

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
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
    const NAME: &'static str = "deployment";

    fn follow(&self, world: &Arc<World>, sources: &Sources) {
        sources.follow_own(&world.deployments);
        sources.follow(&world.replica_sets, |key, set| {
            controller(&set.metadata).map(|owner| ObjectKey::new(&key.namespace, &owner.name)).into_iter().collect()
        });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(deployment) = view.deployments.get(key) else { return plan };
        if deployment.metadata.deletion_timestamp.is_some() || deployment.spec.is_none() {
            return plan;
        }
        let rolling = Rolling::read(view, key, deployment);
        if rolling.is_paused() {
            rollout::scale_in_proportion(&rolling, &mut plan);
        } else {
            sets::keep_new(&rolling, &mut plan);
            rollout::roll(&rolling, &mut plan);
            sets::clean_up(&rolling, &mut plan);
        }
        status::report(&rolling, &mut plan);
        plan
    }
}

impl<'a> Rolling<'a> {
    fn read(view: &'a View, key: &'a ObjectKey, deployment: &'a Deployment) -> Self {
        let own = uid(&deployment.metadata);
        let is_own = |set: &Arc<ReplicaSet>| controller(&set.metadata).is_some_and(|owner| owner.uid == own);
        let mut sets: Vec<_> =
            within(&view.replica_sets, &key.namespace).map(|(_, set)| set).filter(|s| is_own(s)).collect();
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

    pub(crate) fn all(&self) -> impl Iterator<Item = &'a Arc<ReplicaSet>> {
        self.old.iter().copied().chain(self.new)
    }
}
