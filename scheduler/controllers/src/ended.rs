//! Pods that have ended and that nobody has removed: the oldest go when there are too many.

use std::sync::Arc;
use std::time::Duration;

use wherry_api::ObjectKey;
use wherry_api::kinds::Pod;

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::pods::PodRef;
use crate::world::{View, World};

/// How many stay; Kubernetes' own default.
pub(crate) const ENDED_PODS_MAX: usize = 12_500;

pub(crate) struct EndedPods {
    pub(crate) most: usize,
}

impl Controller for EndedPods {
    const NAME: &'static str = "pod-garbage-collector";
    const REST_LEAST: Duration = Duration::from_secs(20);
    /// There is one, that of all pods.
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_changes(&world.pods, |_, old, new| {
            let has_ended = |pod: &PodRef| pod.has_ended();
            let is_news = new.is_some_and(has_ended) && !old.is_some_and(has_ended);
            if is_news { vec![ObjectKey::default()] } else { Vec::new() }
        });
    }

    fn reconcile(&self, view: &View, _: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let mut ended: Vec<&PodRef> = view.pods.values().filter(|pod| pod.has_ended() && !pod.is_deleting()).collect();
        let excess = ended.len().saturating_sub(self.most);
        if excess > 0 {
            ended.sort_by_key(|pod| pod.created());
            ended.truncate(excess);
            ended.iter().for_each(|pod| plan.delete::<Pod>(&pod.key, &pod.meta, None));
        }
        plan
    }
}
