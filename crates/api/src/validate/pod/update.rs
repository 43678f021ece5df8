//! What may change in a pod once it is there.

use k8s_openapi::api::core::v1::{Container, PodSpec, Toleration};

use crate::kinds::Pod;
use crate::validate::path::{Faults, Path};

const SPEC: Path<'static> = Path::Root("spec");

/// Faults of a change to a pod.
pub(crate) fn pod_update(new: &Pod, old: &Pod, faults: &mut Faults) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    if new == old {
        return;
    }
    deadline(new, old, faults);
    tolerations(new, old, faults);
    if allowed(new, old) != *new {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
                   `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
                   `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        faults.forbidden(&SPEC, why);
    }
}

/// The old spec with what may change taken from the new one.
fn allowed(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut spec = old.clone();
    images(&mut spec.containers, &new.containers);
    images(spec.init_containers.as_deref_mut().unwrap_or_default(), new.init_containers.as_deref().unwrap_or_default());
    spec.active_deadline_seconds = new.active_deadline_seconds;
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0)
        && new.termination_grace_period_seconds == Some(1)
    {
        spec.termination_grace_period_seconds = Some(1);
    }
    spec.tolerations.clone_from(&new.tolerations);
    spec
}

fn images(containers: &mut [Container], new: &[Container]) {
    for (container, new) in containers.iter_mut().zip(new) {
        container.image.clone_from(&new.image);
    }
}

fn deadline(new: &PodSpec, old: &PodSpec, faults: &mut Faults) {
    let at = SPEC.field("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (None, Some(_)) => faults.invalid(&at, None::<i64>, "must not update from a positive integer to nil value"),
        (Some(new), Some(old)) if new > old => {
            faults.invalid(&at, new, &format!("must be less than or equal to previous value {old}"));
        }
        _ => {}
    }
}

fn tolerations(new: &PodSpec, old: &PodSpec, faults: &mut Faults) {
    let new = new.tolerations.as_deref().unwrap_or_default();
    // The time to stay may change, nothing else of those that were there.
    let same = |a: &Toleration, b: &Toleration| {
        Toleration { toleration_seconds: None, ..a.clone() } == Toleration { toleration_seconds: None, ..b.clone() }
    };
    let kept = |old: &Toleration| new.iter().any(|one| same(one, old));
    if !old.tolerations.iter().flatten().all(kept) {
        faults.forbidden(
            &SPEC.field("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}
