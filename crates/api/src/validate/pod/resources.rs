//! Faults of what containers ask for and are limited to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity;
use crate::validate::names;
use crate::validate::path::{Faults, Path};

type Quantities = BTreeMap<String, Quantity>;

/// Faults of a container's resources.
pub(super) fn of_container(container: &Container, at: &Path<'_>, faults: &mut Faults) {
    let Some(resources) = &container.resources else { return };
    let at = at.field("resources");
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    amounts(resources.limits.as_ref(), &limits, faults);
    amounts(resources.requests.as_ref(), &requests, faults);
    for (name, request) in resources.requests.iter().flatten() {
        let limit = resources.limits.as_ref().and_then(|all| all.get(name));
        if let Some(limit) = limit.filter(|limit| exceeds(request, limit)) {
            let why = format!("must be less than or equal to {name} limit of {}", limit.0);
            faults.invalid(&requests, &request.0, &why);
        }
    }
    if resources.claims.iter().flatten().count() > 0 {
        faults.forbidden(&at.field("claims"), "dynamic resource allocation is not available here; use limits");
    }
}

fn exceeds(request: &Quantity, limit: &Quantity) -> bool {
    match (quantity::milli(request), quantity::milli(limit)) {
        (Ok(request), Ok(limit)) => request > limit,
        _ => false,
    }
}

/// Faults of a map of quantities of a container.
fn amounts(all: Option<&Quantities>, at: &Path<'_>, faults: &mut Faults) {
    for (name, amount) in all.into_iter().flatten() {
        let at = at.key(name);
        resource(name, &at, faults);
        self::amount(amount, &at, faults);
    }
}

/// A quantity that is none, or negative.
pub(crate) fn amount(amount: &Quantity, at: &Path<'_>, faults: &mut Faults) {
    match quantity::milli(amount) {
        Err(why) => faults.invalid(at, &amount.0, &why.to_string()),
        Ok(milli) if milli < 0 => faults.invalid(at, &amount.0, "must be greater than or equal to 0"),
        Ok(_) => {}
    }
}

fn resource(name: &str, at: &Path<'_>, faults: &mut Faults) {
    const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    if STANDARD.contains(&name) {
        return;
    }
    faults.all(at, name, names::qualified_name(name));
    if !name.contains('/') && !name.starts_with("hugepages-") {
        faults.invalid(at, name, "must be a standard resource for containers");
    }
}
