//! One informer a kind, shared by all controllers, and the view of all of them that a decision is made on.
//!
//! A view is a handful of pointers: taking one costs nothing, and what it shows does not change while it is read.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;
use wherry_api::kinds::{
    ConfigMap, Deployment, EndpointSlice, Endpoints, Ingress, Kind, Lease, Namespace, Node, ObjectMeta, Pod,
    ReplicaSet, Secret, Service, ServiceAccount,
};
use wherry_api::{ObjectKey, Resource};
use wherry_base::Drain;
use wherry_client::{Client, Informer, Projection};

use crate::pods::PodRef;

/// What is kept of an object has at least its metadata.
pub(crate) trait Known: Clone + Send + Sync + 'static {
    /// The metadata, without what nobody here reads.
    fn meta(&self) -> &ObjectMeta;
}

impl<K: Kind> Known for Arc<K> {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
}

/// Nothing but the metadata: for kinds of which only the owners matter.
#[derive(Clone, Debug)]
pub(crate) struct Bare(Arc<ObjectMeta>);

impl Known for Bare {
    fn meta(&self) -> &ObjectMeta {
        &self.0
    }
}

impl<K: Kind> Projection<K> for Bare {
    fn project(mut object: K) -> Self {
        Self(Arc::new(trimmed(object.metadata_mut())))
    }
}

/// Takes the metadata out of an object, without annotations and the record of who wrote what.
pub(crate) fn trimmed(metadata: &mut ObjectMeta) -> ObjectMeta {
    ObjectMeta { managed_fields: None, annotations: None, ..std::mem::take(metadata) }
}

/// The objects of one kind, as they stood at one moment.
pub(crate) type Objects<P> = Arc<OrdMap<ObjectKey, P>>;

macro_rules! world {
    ($($field:ident: $kind:ty => $held:ty),* $(,)?) => {
        /// The informers.
        pub(crate) struct World {
            $(pub(crate) $field: Informer<$held>,)*
        }

        /// All that a decision may look at.
        #[derive(Clone, Default)]
        pub(crate) struct View {
            /// The moment of the decision.
            pub(crate) now: Timestamp,
            $(pub(crate) $field: Objects<$held>,)*
        }

        impl World {
            /// Starts an informer a kind.
            pub(crate) fn start(client: &Client, drain: &Drain) -> Self {
                Self { $($field: Informer::spawn(client.all::<$kind>(), "", "", drain),)* }
            }

            /// Resolves when all first lists have arrived.
            pub(crate) async fn synced(&self) {
                $(self.$field.synced().await;)*
            }

            /// What is known now.
            pub(crate) fn view(&self, now: Timestamp) -> View {
                View { now, $($field: self.$field.snapshot(),)* }
            }
        }

        impl View {
            /// The metadata of an object of any kind that is followed.
            pub(crate) fn meta(&self, resource: &'static Resource, key: &ObjectKey) -> Option<&ObjectMeta> {
                $(if std::ptr::eq(resource, <$kind>::resource()) {
                    return self.$field.get(key).map(Known::meta);
                })*
                None
            }

            /// All objects, of one namespace (empty: of the cluster and of all namespaces).
            pub(crate) fn each(&self, visit: &mut dyn FnMut(&'static Resource, &ObjectKey, &ObjectMeta)) {
                $(for (key, object) in self.$field.iter() {
                    visit(<$kind>::resource(), key, object.meta());
                })*
            }
        }
    };
}

world! {
    pods: Pod => PodRef,
    replica_sets: ReplicaSet => Arc<ReplicaSet>,
    deployments: Deployment => Arc<Deployment>,
    services: Service => Arc<Service>,
    endpoints: Endpoints => Arc<Endpoints>,
    slices: EndpointSlice => Arc<EndpointSlice>,
    nodes: Node => Arc<Node>,
    namespaces: Namespace => Arc<Namespace>,
    leases: Lease => Arc<Lease>,
    ingresses: Ingress => Arc<Ingress>,
    config_maps: ConfigMap => Bare,
    secrets: Secret => Bare,
    service_accounts: ServiceAccount => Bare,
}

/// The objects of one namespace.
pub(crate) fn within<'a, P: Known>(
    objects: &'a OrdMap<ObjectKey, P>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ObjectKey, &'a P)> {
    objects.range(ObjectKey::new(namespace, "")..).take_while(move |(key, _)| *key.namespace == *namespace)
}

/// The uid, or nothing.
pub(crate) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// The uid of the owner that controls an object.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&wherry_api::kinds::OwnerReference> {
    meta.owner_references.as_deref().unwrap_or_default().iter().find(|owner| owner.controller == Some(true))
}
