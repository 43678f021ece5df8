//! Which API servers a node asks: all masters of its cluster, as the EndpointSlices of the Service `kubernetes` name them, and
//! behind them the one that it was told of. They are kept for the next start, which may find any of them gone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use wherry_api::kinds::EndpointSlice;
use wherry_base::Drain;
use wherry_client::{Client, Https, Informer};

use crate::data_dir::DataDir;

/// The server that a node joined through.
const GIVEN: &str = "node/server";
/// Those that the cluster names, one a line.
const NAMED: &str = "node/servers";
/// The endpoints of the API.
const NAMESPACE: &str = "default";
const LABELS: &str = "kubernetes.io/service-name=kubernetes";

/// The servers of a node, by which they are asked.
pub struct Servers {
    /// The node, which picks among them by its name: not all nodes lean on the same master.
    pub node: String,
    /// The server that was given.
    pub given: String,
    /// Whose servers are kept up to date.
    pub users: Vec<Arc<Https>>,
    /// Where they are kept for the next start, if that needs them.
    pub kept: Option<Arc<DataDir>>,
}

/// Notes the server that a node joins through.
pub fn remember(data: &DataDir, given: &str) -> anyhow::Result<()> {
    Ok(data.write(GIVEN, given)?)
}

/// The server that a node has joined through, and all that it may ask; `None` where it has not joined.
pub fn remembered(data: &DataDir) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let Some(given) = data.read(GIVEN)? else { return Ok(None) };
    let mut all: Vec<String> = data.read(NAMED)?.unwrap_or_default().lines().map(str::to_owned).collect();
    if !all.contains(&given) {
        all.push(given.clone());
    }
    Ok(Some((given, all)))
}

/// Where the cluster's masters are, as it names them, until the drain; nowhere until it has.
pub fn masters(client: &Client, drain: &Drain) -> watch::Receiver<Vec<SocketAddr>> {
    let slices = Informer::spawn(client.namespaced::<EndpointSlice>(NAMESPACE), LABELS, "", drain);
    let mut changes = slices.changes();
    let (told, masters) = watch::channel(Vec::new());
    drain.vital().spawn(async move {
        // The first list may have come before anybody listened for changes.
        slices.synced().await;
        loop {
            let named: Vec<SocketAddr> =
                slices.snapshot().values().flat_map(|slice: &Arc<EndpointSlice>| named(slice)).collect();
            if !named.is_empty() {
                told.send_replace(named);
            }
            // One that lags has missed nothing: the whole picture is taken.
            if matches!(changes.recv().await, Err(RecvError::Closed)) {
                return;
            }
        }
    });
    masters
}

impl Servers {
    /// Follows the cluster's masters until the drain.
    pub fn follow(self, client: &Client, drain: &Drain) {
        let mut masters = masters(client, drain);
        drain.vital().spawn(async move {
            while masters.changed().await.is_ok() {
                let present = masters.borrow_and_update().clone();
                self.take(&present);
            }
        });
    }

    fn take(&self, masters: &[SocketAddr]) {
        let mut servers: Vec<String> = masters.iter().map(|at| format!("https://{at}")).collect();
        servers.sort_by_key(|server| self.rank(server));
        if let Some(data) = &self.kept
            && let Err(error) = data.write(NAMED, &servers.join("\n"))
        {
            tracing::warn!(%error, "the cluster's masters cannot be kept for the next start");
        }
        if !servers.contains(&self.given) {
            servers.push(self.given.clone());
        }
        for user in &self.users {
            if let Err(error) = user.set_servers(&servers) {
                tracing::warn!(%error, "the cluster names masters at no usable address");
            }
        }
    }

    /// Another order for each node.
    fn rank(&self, server: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.node, server).hash(&mut hasher);
        hasher.finish()
    }
}

/// The addresses in a slice.
fn named(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let port = slice.ports.iter().flatten().find(|port| port.name.as_deref() == Some("https"));
    let port = port.and_then(|port| u16::try_from(port.port?).ok());
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    let at = |address: &String| Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port?));
    addresses.filter_map(at).collect()
}
