//! Where a node of one of our own clusters gets its modules: names without a registry are the cluster's, all others their registry's.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wherry_api::Login;

use crate::{FetchError, ImageSource, Reference, Registries, RegistryClient};

/// The cluster's registry and all others.
pub struct Sources {
    /// The cluster's.
    pub cluster: Arc<RegistryClient>,
    /// The others.
    pub others: Registries,
}

impl Sources {
    fn of(&self, reference: &Reference) -> &dyn ImageSource {
        if reference.registry.is_empty() { &*self.cluster } else { &self.others }
    }
}

#[async_trait]
impl ImageSource for Sources {
    async fn resolve(&self, reference: &Reference, logins: &[Login]) -> Result<String, FetchError> {
        self.of(reference).resolve(reference, logins).await
    }

    async fn fetch(&self, reference: &Reference, digest: &str, logins: &[Login]) -> Result<Bytes, FetchError> {
        self.of(reference).fetch(reference, digest, logins).await
    }
}
