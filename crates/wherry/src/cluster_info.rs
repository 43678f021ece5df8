//! What all nodes of a cluster agree on, and its master says: the ConfigMap `cluster-info` in `kube-public`. A node
//! remembers it, and the range of its pods, so that it starts without a master too.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wherry_api::NodeLease;
use wherry_api::kinds::ConfigMap;
use wherry_api::well_known::CLUSTER_INFO;
use wherry_apiserver::RegistryConfig;
use wherry_client::Client;

use crate::config::CommonArgs;
use crate::data_dir::DataDir;

const REMEMBERED: &str = "node/cluster-info.json";
const POD_CIDR: &str = "node/pod-cidr";

/// What all nodes of a cluster agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// The addresses of all pods.
    pub cluster_cidr: IpNet,
    /// The addresses of all Services.
    pub service_cidr: IpNet,
    /// Where the image registry is.
    pub registry: SocketAddr,
}

/// A flag that the cluster contradicts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {own} is not this cluster's, which has {theirs}; leave the flag away, or join another cluster")]
pub struct Contradiction {
    /// The flag.
    flag: &'static str,
    /// Its value.
    own: IpNet,
    /// The cluster's.
    theirs: IpNet,
}

impl ClusterInfo {
    /// What the flags of a master say.
    pub fn of(args: &CommonArgs, registry: SocketAddr) -> Self {
        Self {
            cluster_cidr: args.cluster_cidr.unwrap_or(RegistryConfig::CLUSTER_CIDR),
            service_cidr: args.service_cidr.unwrap_or(RegistryConfig::SERVICE_CIDR),
            registry,
        }
    }

    /// The ConfigMap's data: this, what agents ask for again and again, and a kubeconfig without a user, as kubeadm writes it.
    pub fn data(&self, kubeconfig: String, lease: NodeLease) -> anyhow::Result<BTreeMap<String, String>> {
        let mut data: BTreeMap<String, String> = serde_json::from_value(serde_json::to_value(self)?)?;
        data.insert(NodeLease::KEY.to_owned(), lease.text());
        data.insert("kubeconfig".to_owned(), kubeconfig);
        Ok(data)
    }

    /// What the master says now.
    pub async fn read(client: &Client) -> anyhow::Result<Self> {
        let map = client.namespaced::<ConfigMap>(CLUSTER_INFO.0).get(CLUSTER_INFO.1).await?;
        let data = serde_json::to_value(map.data.unwrap_or_default())?;
        serde_json::from_value(data).context("the cluster's ConfigMap kube-public/cluster-info cannot be read")
    }

    /// What the master said the last time.
    pub fn remembered(data: &DataDir) -> anyhow::Result<Option<Self>> {
        let text = data.read(REMEMBERED)?;
        text.map(|text| serde_json::from_str(&text).context("DATA/node/cluster-info.json")).transpose()
    }

    /// Keeps it for a start without a master.
    pub fn remember(&self, data: &DataDir) -> anyhow::Result<()> {
        Ok(data.write(REMEMBERED, &serde_json::to_string(self)?)?)
    }

    /// The first flag that says something else.
    pub fn check(&self, args: &CommonArgs) -> Result<(), Contradiction> {
        let flags = [
            ("--cluster-cidr", args.cluster_cidr, self.cluster_cidr),
            ("--service-cidr", args.service_cidr, self.service_cidr),
        ];
        let wrong =
            flags.into_iter().find_map(|(flag, own, theirs)| Some((flag, own.filter(|own| *own != theirs)?, theirs)));
        wrong.map_or(Ok(()), |(flag, own, theirs)| Err(Contradiction { flag, own, theirs }))
    }
}

/// The range of this node's pods that it had the last time.
pub fn remembered_range(data: &DataDir) -> anyhow::Result<Option<IpNet>> {
    let text = data.read(POD_CIDR)?;
    text.map(|text| text.trim().parse().context("DATA/node/pod-cidr")).transpose()
}

/// Keeps the range of this node's pods for a start without a master.
pub fn remember_range(data: &DataDir, range: IpNet) -> anyhow::Result<()> {
    Ok(data.write(POD_CIDR, &range.to_string())?)
}
