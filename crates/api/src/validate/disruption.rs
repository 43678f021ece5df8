//! Faults of PodDisruptionBudgets. Follows `k8s.io/kubernetes/pkg/apis/policy/validation`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kinds::PodDisruptionBudget;
use crate::selector::Labels;
use crate::validate::path::{Faults, Path};
use crate::validate::{names, workload};

const POLICIES: [&str; 2] = ["AlwaysAllow", "IfHealthyBudget"];

pub(crate) fn budget(budget: &PodDisruptionBudget, faults: &mut Faults) {
    let at = Path::Root("spec");
    let Some(spec) = &budget.spec else { return };
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        faults.invalid(&at, spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for (name, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
        let at = at.field(name);
        workload::count(value.as_ref(), &at, faults);
        if let Some(IntOrString::String(text)) = value
            && names::percent(text).is_ok_and(|percent| percent > 100)
        {
            faults.invalid(&at, text, "must not be greater than 100%");
        }
    }
    if let Some(Err(why)) = spec.selector.as_ref().map(Labels::from_selector) {
        faults.invalid(&at.field("selector"), &spec.selector, &why);
    }
    faults.one_of(&at.field("unhealthyPodEvictionPolicy"), spec.unhealthy_pod_eviction_policy.as_deref(), &POLICIES);
}
