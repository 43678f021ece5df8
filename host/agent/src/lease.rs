//! The node's Lease: renewed again and again, as often as the cluster's grace asks for, and by one small request each time.
//!
//! Spawns the task that renews. What follows from renewals that are not answered is `fence`'s.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use wherry_api::kinds::{ConfigMap, Endpoints, Lease, ObjectMeta, OwnerReference};
use wherry_api::well_known::CLUSTER_INFO;
use wherry_api::{Error, NodeLease, Reason};

use crate::context::Context;
use crate::fence::Tenure;

/// How often the cluster is asked for its terms.
const TERMS_PERIOD: Duration = Duration::from_secs(10);
/// How soon a renewal that failed is tried again, at the latest.
const RETRY_MOST: Duration = Duration::from_secs(1);

/// What the cluster goes by.
#[derive(Clone, Copy)]
struct Terms {
    lease: NodeLease,
    /// There is one master, and it is ours: where its address refuses, none runs, and the next one gives each node a whole grace.
    is_one_master: bool,
    asked: Instant,
}

/// Renews the Lease of the Node with this uid, once it is known, until the drain of the context.
pub fn spawn(context: Arc<Context>, mut uid: watch::Receiver<String>) {
    let drain = context.drain.clone();
    drain.spawn(async move {
        let mut terms = None;
        let _ended = uid.wait_for(|uid| !uid.is_empty()).await.map(drop);
        loop {
            let since = Instant::now();
            let renewed = context.renew_in_time(&mut terms, &uid).await;
            let lease = terms.map_or(NodeLease::DEFAULT, |terms: Terms| terms.lease);
            let interval = lease.renew_interval();
            let wait = if renewed.is_ok() { interval } else { interval.min(RETRY_MOST) };
            match renewed {
                Ok(()) => context.renewed(Tenure { since, lease }),
                Err(error) if error.is_refusal() && terms.is_some_and(|terms| terms.is_one_master) => {
                    tracing::debug!(%error, "no master runs, so that nobody can judge this node");
                    context.renewed(Tenure { since, lease });
                }
                Err(error) => tracing::warn!(%error, "the node's Lease was not renewed; trying again"),
            }
            tokio::time::sleep_until(since + wait).await;
        }
    });
}

impl Context {
    /// Gives up after two intervals: an answer that comes later comes too late.
    async fn renew_in_time(&self, terms: &mut Option<Terms>, uid: &watch::Receiver<String>) -> Result<(), Error> {
        let most = terms.map_or(NodeLease::DEFAULT, |terms| terms.lease).renew_interval() * 2;
        let renewed = tokio::time::timeout(most, async {
            let current = match *terms {
                Some(terms) if terms.asked.elapsed() < TERMS_PERIOD => terms,
                _ => self.ask_terms().await?,
            };
            *terms = Some(current);
            let uid = uid.borrow().clone();
            self.renew(&uid, current.lease).await
        });
        renewed.await.unwrap_or_else(|_| Err(Error::new(Reason::Timeout, format!("no answer within {most:?}"))))
    }

    /// A cluster that says nothing of it is one of Kubernetes' own.
    async fn ask_terms(&self) -> Result<Terms, Error> {
        let asked = Instant::now();
        let map = match self.client.namespaced::<ConfigMap>(CLUSTER_INFO.0).get(CLUSTER_INFO.1).await {
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::Forbidden) => ConfigMap::default(),
            map => map?,
        };
        let said = map.data.as_ref().and_then(|data| NodeLease::parse(data.get(NodeLease::KEY)?));
        let Some(lease) = said else { return Ok(Terms { lease: NodeLease::DEFAULT, is_one_master: false, asked }) };
        let masters = self.client.namespaced::<Endpoints>("default").get("kubernetes").await?;
        let addresses = masters.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten());
        Ok(Terms { lease, is_one_master: addresses.count() == 1, asked })
    }

    async fn renew(&self, uid: &str, lease: NodeLease) -> Result<(), Error> {
        let leases = self.client.namespaced::<Lease>(NodeLease::NAMESPACE);
        let spec = LeaseSpec {
            holder_identity: Some(self.config.node_name.clone()),
            lease_duration_seconds: Some(lease.duration_seconds()),
            renew_time: Some(MicroTime(self.clock.now())),
            ..LeaseSpec::default()
        };
        match leases.merge(&self.config.node_name, &json!({ "spec": spec })).await {
            Err(error) if error.reason == Reason::NotFound => leases.create(&self.lease(uid, spec)).await.map(drop),
            renewed => renewed.map(drop),
        }
    }

    fn lease(&self, uid: &str, spec: LeaseSpec) -> Lease {
        let name = &self.config.node_name;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.clone(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(NodeLease::NAMESPACE.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: Some(spec) }
    }
}
