//! What the cluster has revoked, as far as has been heard: its masters and nodes refuse those certificates, and end the
//! connections that were made with them. Who does not reach the API goes on with what was known; who starts so knows of none.

use tokio::sync::watch;
use wherry_api::kinds::ConfigMap;
use wherry_api::well_known::REVOKED_CERTIFICATES;
use wherry_api::{ObjectKey, Revocations};
use wherry_base::Drain;

use crate::api::Client;
use crate::followed::Followed;

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

/// Resolves once the certificate of that user and serial number (in hexadecimal digits) is revoked.
pub async fn revoked(mut revocations: watch::Receiver<Revocations>, user: &str, serial: &str) {
    if revocations.wait_for(|present| present.cover(user, serial)).await.is_err() {
        // Nobody will say so any more.
        std::future::pending().await
    }
}
