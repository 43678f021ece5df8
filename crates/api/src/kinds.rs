//! The Rust types of the kinds, by their short names, and the trait that ties each to its row in the table.

pub use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
pub use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
pub use k8s_openapi::api::coordination::v1::Lease;
pub use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
pub use k8s_openapi::api::discovery::v1::EndpointSlice;
pub use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
pub use k8s_openapi::api::node::v1::RuntimeClass;
pub use k8s_openapi::api::policy::v1::PodDisruptionBudget;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference, Time};

use std::marker::PhantomData;

use k8s_openapi::Metadata;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::key::ObjectKey;
use crate::resource::{Resource, find};

/// A kind that Wherry serves.
pub trait Kind:
    k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
    /// The kind's row in the table of resources.
    fn resource() -> &'static Resource {
        #[expect(clippy::expect_used, reason = "a test holds that every Kind has a row")]
        find(Self::GROUP, Self::VERSION, Self::URL_PATH_SEGMENT).expect("every Kind has a row in RESOURCES")
    }

    /// The object's namespace and name.
    fn key(&self) -> ObjectKey {
        let meta = self.metadata();
        ObjectKey::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl<K> Kind for K where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
}

/// An object of a kind of which no more than the metadata is read: what a reader that only wants owners and labels need not
/// take apart. Cf. `PartialObjectMetadata` of meta.k8s.io/v1, which a server makes of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Partial<K> {
    metadata: ObjectMeta,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: k8s_openapi::Resource> k8s_openapi::Resource for Partial<K> {
    type Scope = K::Scope;

    const API_VERSION: &'static str = K::API_VERSION;
    const GROUP: &'static str = K::GROUP;
    const KIND: &'static str = K::KIND;
    const VERSION: &'static str = K::VERSION;
    const URL_PATH_SEGMENT: &'static str = K::URL_PATH_SEGMENT;
}

impl<K: k8s_openapi::Resource> Metadata for Partial<K> {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
