//! Bootstrap tokens go when they have expired: Kubernetes' `tokencleaner`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wherry_api::ObjectKey;
use wherry_api::kinds::{ObjectMeta, Secret};
use wherry_api::well_known::BOOTSTRAP_TOKEN;
use wherry_client::Projection;

use crate::driver::{Controller, Sources};
use crate::plan::Plan;
use crate::world::{Known, View, World, trimmed};

/// Where bootstrap tokens are.
const NAMESPACE: &str = "kube-system";

/// A Secret without its content.
#[derive(Clone, Debug)]
pub(crate) struct SecretRef {
    meta: Arc<ObjectMeta>,
    /// When it is worth nothing any more, where it is a bootstrap token that expires.
    expires: Option<Timestamp>,
}

impl Known for SecretRef {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl Projection<Secret> for SecretRef {
    fn project(mut secret: Secret) -> Self {
        let expires = expiration(&secret);
        Self { meta: Arc::new(trimmed(&mut secret.metadata)), expires }
    }
}

/// A time that cannot be read is over.
fn expiration(secret: &Secret) -> Option<Timestamp> {
    let is_token =
        secret.type_.as_deref() == Some(BOOTSTRAP_TOKEN) && secret.metadata.namespace.as_deref() == Some(NAMESPACE);
    let until = secret.data.as_ref().filter(|_| is_token)?.get("expiration")?;
    Some(std::str::from_utf8(&until.0).ok().and_then(|until| until.parse().ok()).unwrap_or(Timestamp::MIN))
}

pub(crate) struct ExpiredTokens;

impl Controller for ExpiredTokens {
    const NAME: &'static str = "token-cleaner";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_changes(&world.secrets, |key, _, new| {
            if new.is_some_and(|secret| secret.expires.is_some()) { vec![key.clone()] } else { Vec::new() }
        });
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some((secret, expires)) = view.secrets.get(key).and_then(|secret| Some((secret, secret.expires?))) else {
            return plan;
        };
        match Duration::try_from(expires.duration_since(view.now)).unwrap_or_default() {
            Duration::ZERO => plan.delete::<Secret>(key, &secret.meta, None),
            left => plan.look_again(left),
        }
        plan
    }
}
