//! What the cluster has revoked, as far as this node has heard: it refuses those certificates at its endpoints and as peers.
//! A node that does not reach the API goes on with what it knew; one that starts so knows of none.

use tokio::sync::watch;
use wherry_api::kinds::ConfigMap;
use wherry_api::well_known::REVOKED_CERTIFICATES;
use wherry_api::{ObjectKey, Revocations};
use wherry_base::Drain;
use wherry_client::{Client, Followed};

/// Follows them until the drain.
pub fn revocations(client: &Client, drain: &Drain) -> watch::Receiver<Revocations> {
    let (told, revocations) = watch::channel(Revocations::default());
    let followed = Followed::new(client.clone(), drain, move |_, map: Option<ConfigMap>| {
        let present = map.as_ref().map(Revocations::of).unwrap_or_default();
        told.send_if_modified(|known| {
            *known != present && {
                *known = present;
                true
            }
        });
    });
    followed.follow(&ObjectKey::new(REVOKED_CERTIFICATES.0, REVOKED_CERTIFICATES.1));
    revocations
}
