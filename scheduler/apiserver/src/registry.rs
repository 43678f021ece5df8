//! Verbs over the store: what every request, from wherever it comes, goes through.
//!
//! Stamps what is random or timed (uid, times, generated names, addresses) once, before the store's command.
//! Reads are snapshots of bytes; writes are read-modify-propose, repeated where somebody else was quicker.

mod addresses;
mod bootstrap;
mod create;
mod delete;
mod evict;
mod ingress;
mod leader;
mod masters;
mod modify;
mod node_range;
mod object;
mod patch;
mod pod_security;
mod read;
mod runtime_class;
mod service;
mod service_account;
mod subresource;
mod tolerations;
mod transport;
mod watch;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use tokio::sync::Mutex;
use wherry_api::resource::FieldValidation;
use wherry_api::{Error, ObjectKey, Reason, Resource};
use wherry_base::{Clock, Rng};
use wherry_client::Client;
use wherry_store::{Encoded, Entry, ProposeError, Store};

use crate::authenticate::Revoked;
use crate::identity::Identity;
use crate::masters::{Asker, Masters};
use crate::node_graph::NodeGraph;

pub(crate) use leader::Leader;
pub(crate) use modify::revision;
pub(crate) use read::{Page, oldest};
pub(crate) use subresource::named as named_subresource;
pub use tolerations::DefaultTolerations;
pub(crate) use transport::LIST_TAIL;
pub(crate) use watch::View;

/// What one object may take in the store, encoded: what etcd lets a Kubernetes object take.
const OBJECT_BYTES_MAX: usize = 3 * 1024 * 1024 / 2;
/// How often a write is tried again when somebody else was quicker.
const WRITE_TRIES_MAX: usize = 16;

/// What the registry needs to know of the cluster.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Where Services get their addresses; the first is the Service `kubernetes`.
    pub service_cidr: IpNet,
    /// Where Nodes get the ranges of their pods.
    pub cluster_cidr: IpNet,
    /// How long the prefix of a Node's range is.
    pub node_prefix: u8,
    /// Where the API itself is reached: the endpoint of the Service `kubernetes`.
    pub advertise: SocketAddr,
    /// What who joins is told: the data of the ConfigMap `cluster-info` in `kube-public`.
    pub cluster_info: BTreeMap<String, String>,
    /// How long pods bear troubled nodes.
    pub tolerations: DefaultTolerations,
    /// How other masters are called; none where there are no others.
    pub masters: Option<Arc<dyn Masters>>,
}

impl RegistryConfig {
    /// The Services' addresses where nobody says otherwise.
    pub const SERVICE_CIDR: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12));
    /// The pods' addresses where nobody says otherwise.
    pub const CLUSTER_CIDR: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 0, 0), 10));
    /// How long the prefix of a Node's range is where nobody says otherwise.
    pub const NODE_PREFIX: u8 = 18;
}

impl Default for RegistryConfig {
    /// A cluster of one machine.
    fn default() -> Self {
        Self {
            service_cidr: Self::SERVICE_CIDR,
            cluster_cidr: Self::CLUSTER_CIDR,
            node_prefix: Self::NODE_PREFIX,
            advertise: SocketAddr::from((Ipv4Addr::LOCALHOST, 6443)),
            cluster_info: BTreeMap::new(),
            tolerations: DefaultTolerations::default(),
            masters: None,
        }
    }
}

/// Carries out verbs; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    config: RegistryConfig,
    clock: Arc<dyn Clock>,
    rng: Rng,
    /// Held from choosing an address or a range until it is stored.
    addresses: Mutex<()>,
    node_graph: NodeGraph,
    revoked: Revoked,
}

/// One object by its resource, namespace and name.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    pub(crate) key: ObjectKey,
}

/// How a write is to be carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    /// The node that writes, which may not write everything: see `restriction`.
    pub(crate) node: Option<Arc<str>>,
}

/// An object after a write.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) json: bytes::Bytes,
    pub(crate) warnings: Vec<String>,
}

impl Registry {
    /// A registry over a store.
    pub fn new(store: Store, config: RegistryConfig, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            store,
            config,
            clock,
            rng: Rng::from_entropy(),
            addresses: Mutex::new(()),
            node_graph: NodeGraph::default(),
            revoked: Revoked::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// An in-process client that acts as `identity`.
    pub fn client(&self, identity: Identity) -> Client {
        Client::new(Arc::new(transport::InProcess::new(self.clone(), Asker::direct(identity))))
    }

    /// The same for a part of the leader: what it asks is carried out while this master leads, and else not at all.
    pub fn leader_client(&self, identity: Identity) -> Client {
        Client::new(Arc::new(transport::InProcess::new(self.clone(), Asker { identity, stays: true })))
    }

    /// The moment, as Kubernetes writes it: to the second.
    pub(crate) fn now(&self) -> String {
        self.inner.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn revoked(&self) -> &Revoked {
        &self.inner.revoked
    }

    pub(crate) fn node_graph(&self) -> &NodeGraph {
        &self.inner.node_graph
    }

    pub(crate) fn entry(&self, target: &Target) -> Option<Arc<Entry>> {
        self.inner.store.snapshot(target.resource).objects.get(&target.key).cloned()
    }
}

impl Target {
    pub(crate) fn new(resource: &'static Resource, namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|_| resource.namespaced).unwrap_or_default();
        Self { resource, key: ObjectKey::new(namespace, name) }
    }

    fn not_found(&self) -> Error {
        self.resource.not_found(&self.key.name)
    }
}

/// An object's bytes for the store; an error where it is too large.
fn encoded(object: &serde_json::Value) -> Result<Encoded, Error> {
    let encoded = Encoded::new(object);
    let bytes = encoded.bytes();
    if bytes > OBJECT_BYTES_MAX {
        let message =
            format!("the object would take {bytes} bytes in the store; at most {OBJECT_BYTES_MAX} are allowed");
        return Err(Error::new(Reason::RequestEntityTooLarge, message));
    }
    Ok(encoded)
}

/// The error of a write that took no effect for reasons other than a conflict.
fn unwritten(error: &ProposeError) -> Error {
    let mut answer = match error {
        ProposeError::Overloaded => Error::new(Reason::TooManyRequests, "too many writes wait for the disk; try again"),
        ProposeError::NotLeader(_) => return Error::undone(error.to_string()),
        // It may have been written: nobody is invited to write it again.
        ProposeError::Unavailable(_) => return Error::new(Reason::Timeout, error.to_string()),
        other => Error::new(Reason::ServiceUnavailable, other.to_string()),
    };
    answer.retry_after_seconds = Some(1);
    answer
}

#[cfg(test)]
mod tests;
