//! What is given to one object only: addresses and ports of Services, pod ranges of Nodes. One lock is held from the
//! choice until it is stored.

use serde_json::Value;
use tokio::sync::MutexGuard;
use wherry_api::{Error, Resource};

use super::{Registry, node_range, service};

/// Holds the choice for this write of an object, which is `present` now; `None` where there is nothing to choose.
pub(super) async fn hold<'a>(
    registry: &'a Registry,
    resource: &'static Resource,
    present: Option<&Value>,
) -> Option<MutexGuard<'a, ()>> {
    let chooses = service::is_service(resource) || node_range::lacks_range(resource, present);
    if chooses { Some(registry.inner.addresses.lock().await) } else { None }
}

/// Gives an object what it has not yet.
pub(super) fn allocate(
    registry: &Registry,
    resource: &'static Resource,
    object: &mut Value,
    present: Option<&Value>,
) -> Result<(), Error> {
    if service::is_service(resource) {
        return service::allocate(registry, resource, object, present);
    }
    if node_range::lacks_range(resource, present) {
        return node_range::allocate(registry, resource, object);
    }
    Ok(())
}
