//! Ingress status: where the ingress of this cluster is reached.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::kinds::Ingress;

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::world::{View, World};

const CLASS: &str = "wherry";

pub(crate) struct IngressStatus {
    pub(crate) address: IpAddr,
}

impl Controller for IngressStatus {
    const NAME: &'static str = "ingress";

    fn follow(&self, world: &Arc<World>, sources: &Sources) {
        sources.follow_own(&world.ingresses);
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(ingress) = view.ingresses.get(key) else { return plan };
        let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        if class.is_none_or(|class| class == CLASS) && !self.is_shown(ingress) {
            let status = json!({"loadBalancer": {"ingress": [{"ip": self.address}]}});
            plan.status::<Ingress>(key, &ingress.metadata, status);
        }
        plan
    }
}

impl IngressStatus {
    fn is_shown(&self, ingress: &Ingress) -> bool {
        let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let mut shown = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
        let address = self.address.to_string();
        shown.any(|one| one.ip.as_ref() == Some(&address))
    }
}
