//! The node's Lease: renewed again and again, as often as the cluster's grace asks for, and by one small request each time.
//!
//! Spawns the task that renews. What follows from renewals that are not answered is `fence`'s. What the cluster goes by is
//! kept for the next process, which may find no API.

use std::path::Path;
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

/// The file in the node's directory that has the terms.
const KEPT: &str = "lease";

/// What the cluster goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub lease: NodeLease,
    /// There is one master, and it is ours: where its address refuses, none runs, and the next one gives each node a whole grace.
    is_one_master: bool,
}

/// The terms as they were heard last.
#[derive(Clone, Copy)]
struct Heard {
    terms: Terms,
    /// None where an earlier process heard them.
    at: Option<Instant>,
}

impl Terms {
    /// Of a cluster that says nothing of it: one of Kubernetes' own.
    pub const DEFAULT: Self = Self { lease: NodeLease::DEFAULT, is_one_master: false };

    /// What an earlier process was told.
    pub fn kept(node: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(node.join(KEPT)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (masters, grace) = text.split_once(' ')?;
        Some(Self { lease: NodeLease::parse(grace.trim_end())?, is_one_master: masters == "one" })
    }

    /// As [`Self::parse`] reads it.
    fn text(self) -> String {
        format!("{} {}\n", if self.is_one_master { "one" } else { "several" }, self.lease.text())
    }
}

/// How long a renewal may take: an answer that comes later comes too late.
pub fn patience(lease: NodeLease) -> Duration {
    lease.renew_interval() * 2
}

/// Renews the Lease of the Node with this uid until the drain of the context.
pub fn spawn(context: Arc<Context>, mut uid: watch::Receiver<String>) {
    let drain = context.drain.clone();
    drain.vital().spawn(async move {
        let mut heard = Heard { terms: context.terms, at: None };
        loop {
            let since = Instant::now();
            let renewed = context.renew_in_time(&mut heard, &mut uid).await;
            let Terms { lease, is_one_master } = heard.terms;
            let interval = lease.renew_interval();
            let wait = if renewed.is_ok() { interval } else { interval.min(RETRY_MOST) };
            match renewed {
                Ok(()) => context.renewed(Tenure { since, lease }),
                Err(error) if error.is_refusal() && is_one_master => {
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
    async fn renew_in_time(&self, heard: &mut Heard, uid: &mut watch::Receiver<String>) -> Result<(), Error> {
        let most = patience(heard.terms.lease);
        let renewed = tokio::time::timeout(most, async {
            if heard.at.is_none_or(|at| at.elapsed() >= TERMS_PERIOD) {
                *heard = self.ask_terms(heard.terms).await?;
            }
            self.renew(uid, heard.terms.lease).await
        });
        renewed.await.unwrap_or_else(|_| Err(Error::new(Reason::Timeout, format!("no answer within {most:?}"))))
    }

    async fn ask_terms(&self, before: Terms) -> Result<Heard, Error> {
        let at = Some(Instant::now());
        let map = match self.client.namespaced::<ConfigMap>(CLUSTER_INFO.0).get(CLUSTER_INFO.1).await {
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::Forbidden) => ConfigMap::default(),
            map => map?,
        };
        let said = map.data.as_ref().and_then(|data| NodeLease::parse(data.get(NodeLease::KEY)?));
        let terms = match said {
            None => Terms::DEFAULT,
            Some(lease) => Terms { lease, is_one_master: self.masters().await? == 1 },
        };
        if terms != before {
            self.keep(terms).await;
        }
        Ok(Heard { terms, at })
    }

    /// How many masters there are.
    async fn masters(&self) -> Result<usize, Error> {
        let masters = self.client.namespaced::<Endpoints>("default").get("kubernetes").await?;
        let addresses = masters.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten());
        Ok(addresses.count())
    }

    async fn keep(&self, terms: Terms) {
        let file = self.config.data_dir.join(KEPT);
        let kept = wherry_base::spawn_blocking(move || std::fs::write(file, terms.text())).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::warn!("how long the node may be silent is not kept for its next start");
        }
    }

    async fn renew(&self, uid: &mut watch::Receiver<String>, lease: NodeLease) -> Result<(), Error> {
        let leases = self.client.namespaced::<Lease>(NodeLease::NAMESPACE);
        let spec = LeaseSpec {
            holder_identity: Some(self.config.node_name.clone()),
            lease_duration_seconds: Some(lease.duration_seconds()),
            renew_time: Some(MicroTime(self.clock.now())),
            ..LeaseSpec::default()
        };
        match leases.merge(&self.config.node_name, &json!({ "spec": spec })).await {
            Err(error) if error.reason == Reason::NotFound => {
                let uid = uid.wait_for(|uid| !uid.is_empty()).await.map(|uid| uid.clone()).unwrap_or_default();
                leases.create(&self.lease(&uid, spec)).await.map(drop)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_kept_as_they_were_heard() {
        let check = |grace: &str, is_one_master: bool, text: &str| {
            let terms = Terms { lease: NodeLease::parse(grace).unwrap(), is_one_master };
            assert_eq!(terms.text(), text);
            assert_eq!(Terms::parse(text), Some(terms));
        };
        check("2s", true, "one 2s\n");
        check("1500ms", false, "several 1s 500ms\n");
        for wrong in ["", "one", "one ", "several soon"] {
            assert_eq!(Terms::parse(wrong), None, "{wrong}");
        }
    }
}
