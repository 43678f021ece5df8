//! Node ports: real ports of the host, opened and closed as Services change, copied to endpoints over the pod network.

mod tcp;
mod udp;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use wherry_api::ObjectKey;
use wherry_base::Drain;
use wherry_vnet::{Network, Protocol};

use crate::table::{Backends, Snapshot, Table};

/// How often a port that another program holds is tried again.
const RETRY: Duration = Duration::from_secs(10);

type NodePort = (Protocol, u16);

/// What a listener needs to serve its port, however the table changes.
#[derive(Clone)]
pub(crate) struct Port {
    table: Arc<Table>,
    network: Arc<Network>,
    service: ObjectKey,
    node_port: NodePort,
}

struct Keeper {
    table: Arc<Table>,
    network: Arc<Network>,
    bind_address: IpAddr,
    drain: Drain,
    open: HashMap<NodePort, (ObjectKey, DropGuard)>,
    /// Ports whose failure was told.
    failed: HashMap<NodePort, ObjectKey>,
}

/// Keeps the listeners as the table says, for ever.
pub(crate) async fn keep(table: Arc<Table>, network: Arc<Network>, bind_address: IpAddr, drain: Drain) {
    let mut versions = table.versions();
    let (open, failed) = (HashMap::new(), HashMap::new());
    let mut keeper = Keeper { table, network, bind_address, drain, open, failed };
    loop {
        versions.mark_unchanged();
        keeper.apply(&wanted(&keeper.table.snapshot())).await;
        if keeper.failed.is_empty() {
            if versions.changed().await.is_err() {
                return;
            }
        } else {
            let _changed_or_time_to_retry = tokio::time::timeout(RETRY, versions.changed()).await;
        }
    }
}

fn wanted(snapshot: &Snapshot) -> HashMap<NodePort, ObjectKey> {
    let ports = snapshot.entries().flat_map(|(service, entry)| entry.ports.iter().map(move |port| (service, port)));
    let with_node_port = ports.filter(|(_, port)| port.node_port != 0);
    with_node_port.map(|(service, port)| ((port.protocol, port.node_port), service.clone())).collect()
}

impl Keeper {
    async fn apply(&mut self, wanted: &HashMap<NodePort, ObjectKey>) {
        self.open.retain(|port, (service, _)| wanted.get(port) == Some(service));
        self.failed.retain(|port, service| wanted.get(port) == Some(service));
        for (port, service) in wanted {
            if !self.open.contains_key(port) {
                self.start(*port, service).await;
            }
        }
    }

    async fn start(&mut self, node_port: NodePort, service: &ObjectKey) {
        let at = SocketAddr::new(self.bind_address, node_port.1);
        let end = CancellationToken::new();
        let port = Port {
            table: Arc::clone(&self.table),
            network: Arc::clone(&self.network),
            service: service.clone(),
            node_port,
        };
        let started = match node_port.0 {
            Protocol::Tcp => tcp::start(port, at, end.clone(), &self.drain).await,
            Protocol::Udp => udp::start(port, at, end.clone(), &self.drain).await,
        };
        match started {
            Ok(()) => {
                self.failed.remove(&node_port);
                self.open.insert(node_port, (service.clone(), end.drop_guard()));
            }
            Err(error) if self.failed.insert(node_port, service.clone()).is_none() => {
                tracing::warn!(%service, %at, protocol = ?node_port.0, %error, "a node port cannot be opened; retrying");
            }
            Err(_told_before) => {}
        }
    }
}

impl Port {
    fn backends(&self) -> Option<Arc<Backends>> {
        let snapshot = self.table.snapshot();
        let mut ports = snapshot.get(&self.service)?.ports.iter();
        let own = ports.find(|port| (port.protocol, port.node_port) == self.node_port)?;
        Some(Arc::clone(&own.external))
    }
}
