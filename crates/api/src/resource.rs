//! The one table of resources: what discovery lists, what the API server serves, what the store keeps.
//!
//! A kind is added by a row here (and by its defaults, validation and columns in the modules that the row names).

use serde_json::Value;

use crate::admit::admit;
use crate::error::{Cause, Error};
use crate::kinds;

/// How a row's verbs treat a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new object: its status is dropped where the kind has a status subresource.
    Create,
    /// The main resource: the old status is kept; `generation` grows when the spec changes.
    Update,
    /// The `status` subresource: only status (and what metadata Kubernetes allows) changes.
    UpdateStatus,
}

/// What is done with fields that the kind does not have (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Dropped, silently.
    Ignore,
    /// Dropped, and told in a `Warning` header: the default.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// An object ready to be stored, and what the client should be warned of.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Defaulted, pruned, valid.
    pub object: Value,
    /// Texts for `Warning: 299` headers.
    pub warnings: Vec<String>,
}

/// A subresource that a row serves besides `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `status`.
    Status,
    /// `scale` (autoscaling/v1).
    Scale,
    /// `log` of pods.
    Log,
    /// `exec` of pods: a connection, no object.
    Exec,
    /// `attach` of pods: likewise.
    Attach,
    /// `portforward` of pods: likewise.
    PortForward,
    /// `binding` of pods.
    Binding,
    /// `eviction` of pods.
    Eviction,
    /// `finalize` of namespaces.
    Finalize,
    /// `approval` of certificate signing requests.
    Approval,
}

/// One row: a resource by its names, and what is done with its objects.
pub struct Resource {
    /// The API group; empty for core.
    pub group: &'static str,
    /// The version, always the stable one.
    pub version: &'static str,
    /// The kind, `Pod`.
    pub kind: &'static str,
    /// The plural, `pods`: also the path segment.
    pub plural: &'static str,
    /// The singular, `pod`.
    pub singular: &'static str,
    /// `po`.
    pub short_names: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// `all`.
    pub categories: &'static [&'static str],
    /// Which subresources there are.
    pub subresources: &'static [Subresource],
    /// The fields that field selectors may name, besides `metadata.name` and `metadata.namespace`, as dotted paths.
    pub selectable: &'static [&'static str],
    /// Whether objects need no durability of their own (events, leases).
    pub volatile: bool,
    /// How many objects are kept at the most: of more, the oldest go.
    pub objects_max: usize,
    /// Decodes, prunes, defaults and validates: see [`Resource::admit`].
    pub admit: fn(Write, FieldValidation, Option<&Value>, Value) -> Result<Admitted, AdmitError>,
}

/// Why an object is not admitted.
#[derive(Clone, Debug)]
pub enum AdmitError {
    /// It cannot be decoded: the sentence names field and type. A 400.
    Malformed(String),
    /// All its faults. A 422.
    Invalid(Vec<Cause>),
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// A 404 about one object, in Kubernetes' words.
    pub fn not_found(&self, name: &str) -> Error {
        Error::new(crate::Reason::NotFound, format!("{} \"{name}\" not found", self.qualified())).about(
            self.group,
            self.plural,
            name,
        )
    }

    /// A 409 because the object exists, in Kubernetes' words.
    pub fn already_exists(&self, name: &str) -> Error {
        Error::new(crate::Reason::AlreadyExists, format!("{} \"{name}\" already exists", self.qualified())).about(
            self.group,
            self.plural,
            name,
        )
    }

    /// A 409 because the object changed, in Kubernetes' words.
    pub fn conflict(&self, name: &str, why: &str) -> Error {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", self.qualified());
        Error::new(crate::Reason::Conflict, message).about(self.group, self.plural, name)
    }
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.qualified())
    }
}

/// The row of a resource, by its path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The row of a kind, by `apiVersion` and `kind`.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.kind == kind && r.api_version() == api_version)
}

const PLAIN: Resource = Resource {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    namespaced: true,
    categories: &[],
    subresources: &[],
    selectable: &[],
    volatile: false,
    objects_max: usize::MAX,
    admit: admit::<kinds::Pod>,
};

/// How many certificate signing requests are kept at the most: each is of use for as long as its sender waits.
const REQUESTS_MAX: usize = 10_000;

/// How many events are kept at the most, whatever their age: some 10 MiB.
const EVENTS_MAX: usize = 10_000;

/// Every resource that is served.
pub static RESOURCES: &[Resource] = &[
    Resource {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        subresources: &[Subresource::Status, Subresource::Finalize],
        selectable: &["status.phase"],
        admit: admit::<kinds::Namespace>,
        ..PLAIN
    },
    Resource {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        subresources: &[Subresource::Status],
        selectable: &["spec.unschedulable"],
        admit: admit::<kinds::Node>,
        ..PLAIN
    },
    Resource {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource::Status,
            Subresource::Log,
            Subresource::Exec,
            Subresource::Attach,
            Subresource::PortForward,
            Subresource::Binding,
            Subresource::Eviction,
        ],
        selectable: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        admit: admit::<kinds::Pod>,
        ..PLAIN
    },
    Resource {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[Subresource::Status],
        selectable: &["spec.clusterIP", "spec.type"],
        admit: admit::<kinds::Service>,
        ..PLAIN
    },
    Resource {
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        admit: admit::<kinds::Endpoints>,
        ..PLAIN
    },
    Resource {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        admit: admit::<kinds::EndpointSlice>,
        ..PLAIN
    },
    Resource {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        admit: admit::<kinds::ConfigMap>,
        ..PLAIN
    },
    Resource {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        selectable: &["type"],
        admit: admit::<kinds::Secret>,
        ..PLAIN
    },
    Resource {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        admit: admit::<kinds::ServiceAccount>,
        ..PLAIN
    },
    Resource {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        volatile: true,
        objects_max: EVENTS_MAX,
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        admit: admit::<kinds::Event>,
        ..PLAIN
    },
    Resource {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        volatile: true,
        admit: admit::<kinds::Lease>,
        ..PLAIN
    },
    Resource {
        group: "apps",
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Scale],
        admit: admit::<kinds::Deployment>,
        ..PLAIN
    },
    Resource {
        group: "apps",
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Scale],
        selectable: &["status.replicas"],
        admit: admit::<kinds::ReplicaSet>,
        ..PLAIN
    },
    Resource {
        group: "networking.k8s.io",
        kind: "Ingress",
        plural: "ingresses",
        singular: "ingress",
        short_names: &["ing"],
        subresources: &[Subresource::Status],
        admit: admit::<kinds::Ingress>,
        ..PLAIN
    },
    Resource {
        group: "networking.k8s.io",
        kind: "IngressClass",
        plural: "ingressclasses",
        singular: "ingressclass",
        namespaced: false,
        admit: admit::<kinds::IngressClass>,
        ..PLAIN
    },
    Resource {
        group: "certificates.k8s.io",
        kind: "CertificateSigningRequest",
        plural: "certificatesigningrequests",
        singular: "certificatesigningrequest",
        short_names: &["csr"],
        namespaced: false,
        subresources: &[Subresource::Status, Subresource::Approval],
        selectable: &["spec.signerName"],
        objects_max: REQUESTS_MAX,
        admit: admit::<kinds::CertificateSigningRequest>,
        ..PLAIN
    },
    Resource {
        group: "policy",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        subresources: &[Subresource::Status],
        admit: admit::<kinds::PodDisruptionBudget>,
        ..PLAIN
    },
    Resource {
        group: "node.k8s.io",
        kind: "RuntimeClass",
        plural: "runtimeclasses",
        singular: "runtimeclass",
        namespaced: false,
        admit: admit::<kinds::RuntimeClass>,
        ..PLAIN
    },
];
