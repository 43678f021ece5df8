//! One informer a kind, shared by all controllers, and the view of all of them that a decision is made on.
//!
//! A view is a handful of pointers: taking one costs nothing, and what it shows does not change while it is read.

use std::sync::{Arc, Mutex, PoisonError};

use imbl::OrdMap;
use jiff::Timestamp;
use wherry_api::kinds::{
    CertificateSigningRequest, ConfigMap, Deployment, EndpointSlice, Endpoints, Ingress, IngressClass, Kind, Lease,
    Namespace, Node, ObjectMeta, Partial, Pod, PodDisruptionBudget, ReplicaSet, RuntimeClass, Secret, Service,
    ServiceAccount,
};
use wherry_api::{ObjectKey, Resource};
use wherry_base::Drain;
use wherry_client::{Client, Group, Groups, Informer, Projection};

use crate::garbage::Following;
use crate::plan::{Item, Note};
use crate::pods::{PodRef, of_owner, on_node};
use crate::tokens::SecretRef;

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
            pub(crate) notes: Arc<Notes>,
            pub(crate) dependents: Dependents,
        }

        /// All that a decision may look at.
        #[derive(Clone, Default)]
        pub(crate) struct View {
            /// The moment of the decision.
            pub(crate) now: Timestamp,
            $(pub(crate) $field: Objects<$held>,)*
            /// The pods by their controllers, and by their nodes.
            pub(crate) pods_grouped: Groups<PodRef>,
            /// Who names whom as an owner, by the owner's uid; pods are there only for owners that do not control them.
            pub(crate) dependents: OrdMap<Box<str>, Arc<Vec<Item>>>,
            /// Since when things are as they are.
            pub(crate) notes: OrdMap<ObjectKey, Note>,
        }

        impl World {
            /// Starts an informer a kind.
            pub(crate) fn start(client: &Client, drain: &Drain) -> Self {
                Self {
                    $($field: Informer::spawn(client.all::<$kind>(), "", "", drain),)*
                    notes: Arc::default(),
                    dependents: Dependents::default(),
                }
            }

            /// Lets the garbage collector follow every kind.
            pub(crate) fn follow_all(&self, following: &Following<'_>) {
                $(following.follow(<$kind>::resource(), &self.$field);)*
            }

            /// Resolves when all first lists have arrived.
            pub(crate) async fn synced(&self) {
                $(self.$field.synced().await;)*
            }

            /// What is known now.
            pub(crate) fn view(&self, now: Timestamp) -> View {
                let pods = self.pods.picture();
                let rest = View { now, $($field: self.$field.snapshot(),)* ..View::default() };
                View {
                    pods: Arc::clone(&pods.objects),
                    pods_grouped: pods.groups.clone(),
                    dependents: self.dependents.snapshot(),
                    notes: self.notes.snapshot(),
                    ..rest
                }
            }
        }

        #[cfg(test)]
        impl View {
            /// What the API has now; for tests, which have no informers.
            pub(crate) async fn read(client: &Client, now: Timestamp) -> Self {
                let mut view = Self { now, ..Self::default() };
                let all = wherry_client::ListOptions::default;
                $(
                    let listed = client.all::<$kind>().list(all()).await.unwrap();
                    view.$field = wherry_client::Picture::<$held>::of(listed.items).objects;
                )*
                let pods = client.all::<Pod>().list(all()).await.unwrap();
                view.pods_grouped = wherry_client::Picture::of(pods.items).groups;
                let dependents = Dependents::default();
                view.each(&mut |resource, key, meta| {
                    let item = || Item { resource, key: key.clone(), uid: uid(meta).into() };
                    dependents.change(item, &[], &crate::garbage::indexed(resource, Some(meta)));
                });
                Self { dependents: dependents.snapshot(), ..view }
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
    leases: Partial<Lease> => Bare,
    ingresses: Ingress => Arc<Ingress>,
    config_maps: Partial<ConfigMap> => Bare,
    secrets: Secret => SecretRef,
    service_accounts: Partial<ServiceAccount> => Bare,
    ingress_classes: IngressClass => Arc<IngressClass>,
    runtime_classes: Partial<RuntimeClass> => Bare,
    requests: CertificateSigningRequest => Arc<CertificateSigningRequest>,
    budgets: PodDisruptionBudget => Arc<PodDisruptionBudget>,
}

impl View {
    /// The pods that an owner controls, by its uid.
    pub(crate) fn pods_of(&self, owner: &str) -> impl Iterator<Item = &PodRef> {
        self.pods_in(of_owner(owner), "")
    }

    /// The pods that are bound to a node.
    pub(crate) fn pods_on(&self, node: &str) -> impl Iterator<Item = &PodRef> {
        self.pods_in(on_node(node), "")
    }

    /// The pods of a group, from a namespace on.
    fn pods_in(&self, group: Group, from: &str) -> impl Iterator<Item = &PodRef> {
        let from = (group.clone(), ObjectKey::new(from, ""));
        self.pods_grouped.range(from..).take_while(move |((own, _), _)| *own == group).map(|(_, pod)| pod)
    }

    /// The objects that name an owner, by its uid: pods that it controls, and what the index has.
    pub(crate) fn dependents_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = Item> + 'a {
        let pods = self.pods_of(owner).map(|pod| {
            let uid = uid(&pod.meta).into();
            Item { resource: Pod::resource(), key: pod.key.clone(), uid }
        });
        let others = self.dependents.get(owner).into_iter().flat_map(|items| items.iter().cloned());
        pods.chain(others)
    }

    /// The pods of a namespace that nobody controls.
    pub(crate) fn free_pods(&self, namespace: &str) -> impl Iterator<Item = &PodRef> {
        self.pods_in(of_owner(""), namespace).take_while(move |pod| *pod.key.namespace == *namespace)
    }
}

/// Since when things are as they are, for what has no time of its own; lost, and begun anew, with the process.
#[derive(Default)]
pub(crate) struct Notes(Mutex<OrdMap<ObjectKey, Note>>);

impl Notes {
    pub(crate) fn set(&self, about: &ObjectKey, note: Option<Note>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Some(note) => notes.insert(about.clone(), note),
            None => notes.remove(about),
        };
    }

    pub(crate) fn get(&self, about: &ObjectKey) -> Option<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(about).cloned()
    }

    pub(crate) fn snapshot(&self) -> OrdMap<ObjectKey, Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who names whom as an owner.
#[derive(Default)]
pub(crate) struct Dependents(Mutex<OrdMap<Box<str>, Arc<Vec<Item>>>>);

impl Dependents {
    /// An object's owners, by uid, were `old` and are `new`.
    pub(crate) fn change(&self, item: impl Fn() -> Item, old: &[String], new: &[String]) {
        if old == new {
            return;
        }
        let mut dependents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in old {
            let Some(items) = dependents.get_mut(owner.as_str()) else { continue };
            Arc::make_mut(items).retain(|own| *own != item());
            if items.is_empty() {
                dependents.remove(owner.as_str());
            }
        }
        for owner in new {
            Arc::make_mut(dependents.entry(owner.as_str().into()).or_default()).push(item());
        }
    }

    fn snapshot(&self) -> OrdMap<Box<str>, Arc<Vec<Item>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
