//! The task that keeps matcher and certificates fresh: any change of an ingress, a class or a TLS secret compiles both anew.

mod secrets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use wherry_api::ObjectKey;
use wherry_api::kinds::{Ingress, IngressClass};
use wherry_base::Drain;
use wherry_client::{Client, Informer};

use super::certificates::Certificates;
use super::compile;
use super::facts::{ClassFacts, IngressFacts};
use super::forward::Forwarder;
use secrets::TlsSecrets;

/// Changes that come this close together are compiled once.
const SETTLE: Duration = Duration::from_millis(5);
/// How long the first certificates may take to arrive before requests are served without them.
const SECRETS_PATIENCE: Duration = Duration::from_secs(2);

struct Objects {
    ingresses: Informer<IngressFacts>,
    classes: Informer<ClassFacts>,
    secrets: TlsSecrets,
}

/// Keeps both fresh, for ever.
pub(crate) async fn keep(client: Client, forwarder: Arc<Forwarder>, certificates: Arc<Certificates>, drain: Drain) {
    let objects = Objects {
        ingresses: Informer::spawn::<Ingress>(client.all(), "", "", &drain),
        classes: Informer::spawn::<IngressClass>(client.all(), "", "", &drain),
        secrets: TlsSecrets::new(client, &drain),
    };
    let mut changes = [objects.ingresses.changes(), objects.classes.changes()];
    tokio::join!(objects.ingresses.synced(), objects.classes.synced());
    let named = objects.secrets.follow(&objects.ours());
    let _late = tokio::time::timeout(SECRETS_PATIENCE, objects.secrets.seen(named)).await;
    loop {
        changes.iter_mut().for_each(|receiver| *receiver = receiver.resubscribe());
        objects.compile(&forwarder, &certificates);
        let [ingresses, classes] = &mut changes;
        let changed = tokio::select! {
            changed = any(ingresses) => changed,
            changed = any(classes) => changed,
            () = objects.secrets.changed() => true,
        };
        if !changed {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// True for a change, false where there will be none.
async fn any(receiver: &mut Receiver<ObjectKey>) -> bool {
    !matches!(receiver.recv().await, Err(RecvError::Closed))
}

impl Objects {
    /// The ingresses to serve, the oldest first.
    fn ours(&self) -> Vec<(ObjectKey, IngressFacts)> {
        let classes: HashMap<String, ClassFacts> =
            self.classes.snapshot().iter().map(|(key, class)| (key.name.to_string(), *class)).collect();
        let all = self.ingresses.snapshot();
        compile::ours(all.iter().map(|(key, ingress)| (key.clone(), ingress.clone())), &classes)
    }

    fn compile(&self, forwarder: &Forwarder, certificates: &Certificates) {
        let ours = self.ours();
        self.secrets.follow(&ours);
        forwarder.store(compile::matcher(&ours));
        certificates.store(compile::certificates(&ours, |secret| self.secrets.get(secret)));
    }
}
