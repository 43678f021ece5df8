//! How a node comes into a cluster: one of Wherry's own, which it joins or finds beside it, or the one of a kubeconfig; and
//! what is to be done while it is there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use wherry_base::{Backoff, Drain};
use wherry_client::{Client, Https, Kubeconfig};
use wherry_pki::Authority;

use super::{RETRY, Setting};
use crate::admin_kubeconfig::KUBECONFIG;
use crate::cluster_info::ClusterInfo;
use crate::config::JoinFlags;
use crate::credentials;
use crate::data_dir::DataDir;
use crate::foreign;
use crate::join::{self, Invitation};
use crate::listeners::{MasterPorts, master_ports};
use crate::node::Surroundings;
use crate::node_credentials::{NodeCredentials, Own};
use crate::servers::{self, Servers};

/// How long a master may take to say what the cluster agrees on, where the node knows what it said before.
const INFO_MOST: Duration = Duration::from_secs(3);

/// A cluster, with a node in it.
pub(super) struct Entered {
    pub(super) surroundings: Surroundings,
    pub(super) credentials: Arc<NodeCredentials>,
    pub(super) upkeep: Upkeep,
}

/// What is to be done while a node is in a cluster.
pub(super) enum Upkeep {
    /// Its masters are followed. Certificates are renewed by the authority, where it is beside the node, or else by requests.
    Own { servers: Servers, authority: Option<Arc<Authority>> },
    /// The serving certificate is asked for; the client's is the kubeconfig's.
    Other,
}

/// A node's place in a cluster.
struct Membership {
    /// Where the API is, by what it was told.
    given: String,
    /// All that it may be at.
    servers: Vec<String>,
    credentials: Arc<NodeCredentials>,
    /// Signs the node's certificates, where it is here.
    authority: Option<Arc<Authority>>,
}

impl Setting {
    /// Enters the cluster of a kubeconfig.
    pub(super) fn other_cluster(&self, kubeconfig: &Path, flags: &JoinFlags, name: &str) -> anyhow::Result<Entered> {
        let (own, now) = (Own::new(name, self.address), self.clock.now());
        let (surroundings, credentials) = foreign::enter(kubeconfig, flags, &self.common, own, &self.data, now)?;
        Ok(Entered { surroundings, credentials, upkeep: Upkeep::Other })
    }

    /// Joins where the flags say so, or finds the master beside this node; waits for what the cluster agrees on.
    pub(super) async fn own_cluster(&self, flags: &JoinFlags, name: &str) -> anyhow::Result<Entered> {
        let Membership { given, servers, credentials, authority } = self.membership(flags, name).await?;
        let https = || anyhow::Ok(Arc::new(Https::with_tls(&servers, credentials.client_tls()?)?));
        // Images have a connection to themselves, so that a large one holds up no Lease.
        let (api, images) = (https()?, https()?);
        let client = Client::new(Arc::clone(&api) as _);
        let info = cluster_info(&self.data, &client).await?;
        info.check(&self.common)?;
        let kept = authority.is_none().then(|| Arc::clone(&self.data));
        let servers = Servers { node: name.to_owned(), given, users: vec![api, Arc::clone(&images)], kept };
        let surroundings = Surroundings::of(info, client, images, &self.data);
        Ok(Entered { surroundings, credentials, upkeep: Upkeep::Own { servers, authority } })
    }

    /// Does what a cluster asks of a node all the time, until the drain.
    pub(super) fn keep_up(&self, upkeep: Upkeep, credentials: &Arc<NodeCredentials>, client: &Client, drain: &Drain) {
        match upkeep {
            Upkeep::Own { servers, authority } => {
                servers.follow(client, drain);
                match authority {
                    Some(authority) => self.keep(credentials, authority, drain),
                    None => credentials.keep_by_requests(&self.data, client, &self.clock, drain),
                }
            }
            Upkeep::Other => credentials.keep_serving(&self.data, client, &self.clock, drain),
        }
    }

    /// Joins where the flags say so and the node has no certificate that is still good.
    async fn membership(&self, flags: &JoinFlags, name: &str) -> anyhow::Result<Membership> {
        let own = Own::new(name, self.address);
        let present = NodeCredentials::read(own.clone(), &self.data)?;
        let is_member = present.is_some_and(|present| present.are_valid(self.clock.now()));
        let has_joined = servers::remembered(&self.data)?.is_some();
        if let Some(url) = flags.join.as_deref().filter(|_| !is_member || !has_joined) {
            let token = flags.token.as_ref().context("--join needs --token: what `wherry token create` prints")?;
            join::join(Invitation { url, token }, &own, &self.common, &self.data, self.clock.as_ref()).await?;
        }
        match (servers::remembered(&self.data)?, NodeCredentials::read(own, &self.data)?) {
            (Some((given, servers)), Some(credentials)) => {
                Ok(Membership { given, servers, credentials, authority: None })
            }
            _ => self.beside_master(name).await,
        }
    }

    async fn beside_master(&self, name: &str) -> anyhow::Result<Membership> {
        // Before there are certificates, which the master makes and this process only adds to.
        first_master(&self.data).await?;
        let authority = Arc::new(credentials::authority(&self.data, self.clock.now())?);
        let servers = Kubeconfig::load(&self.data.join(KUBECONFIG))?.servers;
        let given = servers.first().cloned().context("DATA/kubeconfig names no server")?;
        Ok(Membership {
            given,
            servers,
            credentials: self.node_credentials(name, &authority)?,
            authority: Some(authority),
        })
    }
}

/// Where the master of a data directory is; waits for one that has never been started.
async fn first_master(data: &DataDir) -> anyhow::Result<MasterPorts> {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut is_told = false;
    loop {
        if let Some(ports) = master_ports(data)? {
            return Ok(ports);
        }
        if !std::mem::replace(&mut is_told, true) {
            eprintln!("waiting for `wherry master` to be started with this --data-dir; or use --join");
        }
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// What the cluster agrees on: as the master says, or as it said the last time.
async fn cluster_info(data: &DataDir, client: &Client) -> anyhow::Result<ClusterInfo> {
    let before = ClusterInfo::remembered(data)?;
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let most = if before.is_some() { INFO_MOST } else { Duration::MAX };
        let read = tokio::time::timeout(most, ClusterInfo::read(client)).await;
        match (read.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {most:?}"))), before) {
            (Ok(info), _) => {
                info.remember(data)?;
                return Ok(info);
            }
            (Err(error), Some(before)) => {
                tracing::warn!(error = format!("{error:#}"), "the node starts with what the master said the last time");
                return Ok(before);
            }
            (Err(error), None) => tracing::warn!(error = format!("{error:#}"), "the node waits for its master"),
        }
        tokio::time::sleep(backoff.fail()).await;
    }
}
