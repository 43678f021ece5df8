//! The node's part of the pod network: which addresses are whose, and the way from one to another.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::dial::DialError;
use crate::http::HttpHandler;
use crate::namespace::Namespace;
use crate::services::Services;
use crate::stream::Stream;

/// The address ranges of a node.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// This node's pods get their addresses here.
    pub pod_cidr: IpNet,
    /// All pods of the cluster.
    pub cluster_cidr: IpNet,
    /// All Services.
    pub service_cidr: IpNet,
    /// The node's own address, which connections made on the node's behalf come from.
    pub node_ip: IpAddr,
}

/// Who a namespace is for.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    /// The pod's namespace, which short names are looked up in.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
}

/// Whether a pod may reach addresses outside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// No: such connections are refused at once.
    Denied,
    /// Yes, over kernel sockets.
    Allowed,
}

/// All pods' addresses of the range are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all addresses of {0} are in use")]
pub struct AddressesExhausted(pub IpNet);

/// The pod network of a node.
pub struct Network {
    config: NetworkConfig,
}

impl Network {
    /// A network without pods.
    pub fn new(config: NetworkConfig, services: Arc<dyn Services>) -> Arc<Self> {
        let _ = services;
        Arc::new(Self { config })
    }

    /// The ranges.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// A new namespace with an address of its own; recently used addresses are used again last.
    pub fn namespace(
        self: &Arc<Self>,
        pod: PodIdentity,
        egress: Egress,
    ) -> Result<Arc<Namespace>, AddressesExhausted> {
        let _ = (pod, egress);
        Err(AddressesExhausted(self.config.pod_cidr))
    }

    /// Connects on the node's behalf (ingress, probes, node ports) to a pod or Service.
    pub async fn dial(&self, to: SocketAddr) -> Result<Stream, DialError> {
        let _ = to;
        Err(DialError::Refused)
    }

    /// The handler that serves this very address on this node, if it is an HTTP module's.
    pub fn handler(&self, at: SocketAddr) -> Option<Arc<dyn HttpHandler>> {
        let _ = at;
        None
    }
}
