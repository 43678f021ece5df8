//! The controllers and the binder: what turns wishes into pods.
//!
//! One file a controller, each a pure `reconcile` of a view; one driver that queues keys, carries plans out and waits
//! until the informers show what was done. No controller polls; old events are swept up when they are due.

mod binder;
mod deployment;
mod disruption;
mod driver;
mod ended;
mod endpoints;
mod expiry;
mod garbage;
mod ingress;
mod namespace;
mod nodes;
mod plan;
mod pods;
mod replicaset;
mod signing;
mod tokens;
mod world;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use wherry_base::{Clock, Drain};
use wherry_client::Client;
use wherry_pki::Authority;

use crate::driver::{Driver, Events};
use crate::world::World;
pub use nodes::NodeMonitor;

/// What the controllers need to know of the cluster.
#[derive(Clone)]
pub struct ControllersConfig {
    /// The cluster's authority: signs certificates, and is `kube-root-ca.crt` in each namespace.
    pub authority: Arc<Authority>,
    /// How long the certificates that it signs are valid.
    pub certificate_life: Duration,
    /// Where the ingress is reached.
    pub ingress_address: IpAddr,
    /// When nodes count as unreachable, and what becomes of their pods.
    pub nodes: NodeMonitor,
}

/// Starts them all under `drain`.
pub fn start(client: Client, config: ControllersConfig, clock: Arc<dyn Clock>, drain: &Drain) {
    let driver = Driver {
        world: Arc::new(World::start(&client, drain)),
        events: Events::start(client.clone(), clock.clone(), drain),
        client,
        clock,
        drain: drain.clone(),
    };
    driver.run(deployment::Deployments);
    driver.run(replicaset::ReplicaSets);
    driver.run(endpoints::ServiceEndpoints);
    driver.run(namespace::Namespaces { ca_certificate: config.authority.certificate() });
    driver.run(signing::Signing { authority: config.authority, life: config.certificate_life });
    driver.run(garbage::Garbage);
    driver.run(disruption::DisruptionBudgets);
    driver.run(ingress::IngressStatus { address: config.ingress_address });
    driver.run(nodes::NodeLifecycle::new(config.nodes));
    driver.run(ended::EndedPods { most: ended::ENDED_PODS_MAX });
    driver.run(tokens::ExpiredTokens);
    drain.vital().spawn(expiry::run(driver.client.clone(), Arc::clone(&driver.clock)));
    binder::start(&driver);
}

#[cfg(test)]
mod tests;
