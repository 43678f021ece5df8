//! Who asks: by a client certificate, or by a bootstrap token. Whom the ConfigMap `kube-system/revoked-certificates`
//! names is refused, from the next request on; its connections end.
//!
//! Bootstrap tokens are Secrets of type `bootstrap.kubernetes.io/token`, as Kubernetes has them
//! (`k8s.io/cluster-bootstrap`). Other bearer tokens are not served yet.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use wherry_api::kinds::{ConfigMap, Kind, Secret};
use wherry_api::well_known::{
    BOOTSTRAP_TOKEN, BOOTSTRAP_TOKEN_PREFIX, BOOTSTRAPPERS, MASTER_BOOTSTRAPPERS, MASTER_USAGE, REVOKED_CERTIFICATES,
    TOKEN_USAGE_PREFIX,
};
use wherry_api::{Error, Reason, Revision, Revocations};
use wherry_client::revoked;

use crate::identity::Identity;
use crate::registry::{Registry, Target};

const NAMESPACE: &str = "kube-system";

/// What the connection says of who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// The certificate's subject and serial number; nothing of a stranger.
    pub(crate) certificate: Option<(Identity, String)>,
}

impl Peer {
    /// Resolves once the certificate is revoked; never of a stranger.
    pub(crate) async fn revoked(&self, revocations: watch::Receiver<Revocations>) {
        match &self.certificate {
            Some((identity, serial)) => revoked(revocations, &identity.user, serial).await,
            None => std::future::pending().await,
        }
    }
}

/// What is revoked, as the ConfigMap of that revision says.
#[derive(Default)]
pub(crate) struct Revoked(Mutex<(Revision, Revocations)>);

/// Who asks; `None` is anonymous. `bearer` is the token of the request's `Authorization`.
pub(crate) fn identify(registry: &Registry, peer: &Peer, bearer: Option<&str>) -> Result<Option<Identity>, Error> {
    if let Some((identity, serial)) = &peer.certificate {
        if registry.is_revoked(&identity.user, serial) {
            return Err(Error::new(Reason::Unauthorized, "the certificate is revoked"));
        }
        return Ok(Some(identity.clone()));
    }
    let Some(token) = bearer else { return Ok(None) };
    let found = bootstrapper(registry, token, registry.clock().now());
    found.map(Some).ok_or_else(|| Error::new(Reason::Unauthorized, "Unauthorized"))
}

impl Registry {
    /// Whether a certificate of this user and serial number (in hexadecimal digits) is worth nothing any more.
    pub fn is_revoked(&self, user: &str, serial: &str) -> bool {
        let target = Target::new(ConfigMap::resource(), Some(REVOKED_CERTIFICATES.0), REVOKED_CERTIFICATES.1);
        let Some(entry) = self.entry(&target) else { return false };
        let mut known = self.revoked().0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != entry.revision {
            let map: ConfigMap = serde_json::from_slice(&entry.json).unwrap_or_default();
            *known = (entry.revision, Revocations::of(&map));
        }
        known.1.cover(user, serial)
    }
}

/// The user of a bootstrap token, if it is known, may authenticate, and has not expired. One for masters is for nothing
/// else.
fn bootstrapper(registry: &Registry, token: &str, now: Timestamp) -> Option<Identity> {
    let (id, secret) = token.split_once('.')?;
    let target = Target::new(Secret::resource(), Some(NAMESPACE), &format!("{BOOTSTRAP_TOKEN_PREFIX}{id}"));
    let stored: Value = serde_json::from_slice(&registry.entry(&target)?.json).ok()?;
    let text = |field: &str| {
        let data = stored.get("data")?.get(field)?.as_str()?;
        String::from_utf8(BASE64_STANDARD.decode(data).ok()?).ok()
    };
    let is_alive = text("expiration").is_none_or(|until| until.parse::<Timestamp>().is_ok_and(|until| now < until));
    let is_it = text("token-id")? == id && is_same_secret(&text("token-secret")?, secret);
    let is_for = |usage: &str| text(&format!("{TOKEN_USAGE_PREFIX}{usage}")).as_deref() == Some("true");
    if !(is_alive && is_it && stored.get("type")? == BOOTSTRAP_TOKEN) {
        return None;
    }
    let user = format!("system:bootstrap:{id}");
    if is_for(MASTER_USAGE) {
        return Some(Identity { user, groups: vec![MASTER_BOOTSTRAPPERS.to_owned()] });
    }
    if !is_for("authentication") {
        return None;
    }
    // Of further groups, only those below the bootstrappers' may be had so.
    let extra = text("auth-extra-groups").unwrap_or_default();
    let extra = extra.split(',').filter(|group| group.starts_with("system:bootstrappers:")).map(str::to_owned);
    let groups = [BOOTSTRAPPERS.to_owned(), "system:authenticated".to_owned()].into_iter().chain(extra).collect();
    Some(Identity { user, groups })
}

/// Takes as long whatever differs.
fn is_same_secret(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |differences, (a, b)| differences | (a ^ b));
    a.len() == b.len() && differences == 0
}
