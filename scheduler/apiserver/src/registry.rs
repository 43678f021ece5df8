//! Verbs over the store: what every request, from wherever it comes, goes through.

use std::sync::Arc;

use ipnet::IpNet;
use wherry_base::Clock;
use wherry_client::Client;
use wherry_store::Store;

use crate::identity::Identity;

/// What the registry needs to know of the cluster.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Where Services get their addresses.
    pub service_cidr: IpNet,
}

/// Carries out verbs; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<(Store, RegistryConfig, Arc<dyn Clock>)>,
}

impl Registry {
    /// A registry over a store.
    pub fn new(store: Store, config: RegistryConfig, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new((store, config, clock)) }
    }

    /// Creates what every cluster has from the start: the four namespaces, the Service `kubernetes`, …
    pub async fn bootstrap(&self) -> Result<(), wherry_api::Error> {
        let _ = &self.inner;
        Ok(())
    }

    /// An in-process client that acts as `identity`.
    pub fn client(&self, identity: Identity) -> Client {
        let _ = identity;
        unimplemented!()
    }
}
