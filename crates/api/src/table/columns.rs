//! The columns of every kind, in the order of its cells.

use super::Column;

const fn column(name: &'static str, kind: &'static str, description: &'static str, priority: i32) -> Column {
    Column { name, kind, format: "", description, priority }
}

const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", description, 0)
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", description, 1)
}

const fn integer(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", description, 0)
}

const NAME: Column = Column { format: "name", ..text("Name", "The object's name, unique within its namespace.") };
const AGE: Column = text("Age", "The time since the object was created.");
const CONTAINERS: Column = wide("Containers", "The names of the containers in the template.");
const IMAGES: Column = wide("Images", "The images of the containers in the template.");
const SELECTOR: Column = wide("Selector", "The labels by which pods are chosen.");

/// The columns of a kind; name and age for a kind that has none of its own.
pub(super) fn of(kind: &str) -> &'static [Column] {
    match kind {
        "Pod" => POD,
        "Deployment" => DEPLOYMENT,
        "ReplicaSet" => REPLICA_SET,
        "Service" => SERVICE,
        "Endpoints" => ENDPOINTS,
        "EndpointSlice" => ENDPOINT_SLICE,
        "Ingress" => INGRESS,
        "IngressClass" => INGRESS_CLASS,
        "Node" => NODE,
        "Namespace" => NAMESPACE,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Event" => EVENT,
        "Lease" => LEASE,
        "RuntimeClass" => RUNTIME_CLASS,
        "CertificateSigningRequest" => SIGNING_REQUEST,
        "PodDisruptionBudget" => DISRUPTION_BUDGET,
        _ => PLAIN,
    }
}

static PLAIN: &[Column] = &[NAME, AGE];

static POD: &[Column] = &[
    NAME,
    text("Ready", "How many of the containers are ready, of how many."),
    text("Status", "Where the pod is in its life, or why it does not go on."),
    text("Restarts", "How often containers were restarted, and when last."),
    AGE,
    wide("IP", "The pod's address."),
    wide("Node", "The node that the pod is bound to."),
    wide("Nominated Node", "The node on which room is being made for the pod."),
    wide("Readiness Gates", "How many of the pod's own readiness conditions hold, of how many."),
];

static DEPLOYMENT: &[Column] = &[
    NAME,
    text("Ready", "How many pods are ready, of how many wanted."),
    text("Up-to-date", "How many pods have the newest template."),
    text("Available", "How many pods have been ready for minReadySeconds."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

static REPLICA_SET: &[Column] = &[
    NAME,
    integer("Desired", "How many pods are wanted."),
    integer("Current", "How many pods there are."),
    integer("Ready", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

static SERVICE: &[Column] = &[
    NAME,
    text("Type", "How the service is exposed."),
    text("Cluster-IP", "The address inside the cluster."),
    text("External-IP", "The addresses outside the cluster."),
    text("Port(s)", "The ports, with the node's port where there is one."),
    AGE,
    SELECTOR,
];

static ENDPOINTS: &[Column] = &[NAME, text("Endpoints", "The addresses and ports behind the service."), AGE];

static ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text("AddressType", "What the addresses are: IPv4, IPv6 or FQDN."),
    text("Ports", "The ports of each endpoint."),
    text("Endpoints", "The addresses."),
    AGE,
];

static INGRESS: &[Column] = &[
    NAME,
    text("Class", "The class whose controller serves the ingress."),
    text("Hosts", "The hosts that requests are matched by."),
    text("Address", "Where the ingress is reached."),
    text("Ports", "The ports of the ingress."),
    AGE,
];

static INGRESS_CLASS: &[Column] = &[
    NAME,
    text("Controller", "The controller that serves ingresses of this class."),
    text("Parameters", "The object with further configuration."),
    AGE,
];

static NODE: &[Column] = &[
    NAME,
    text("Status", "Whether the node is ready, and whether pods may be bound to it."),
    text("Roles", "The node's roles, by its labels."),
    AGE,
    text("Version", "The version of the node's agent."),
    wide("Internal-IP", "The node's address inside the cluster."),
    wide("External-IP", "The node's address outside the cluster."),
    wide("OS-Image", "The operating system."),
    wide("Kernel-Version", "The version of the operating system's kernel."),
    wide("Container-Runtime", "What runs the containers."),
];

static NAMESPACE: &[Column] = &[NAME, text("Status", "Whether the namespace is active or terminating."), AGE];

static CONFIG_MAP: &[Column] = &[NAME, text("Data", "How many entries there are."), AGE];

static SECRET: &[Column] =
    &[NAME, text("Type", "What the secret is for."), text("Data", "How many entries there are."), AGE];

static SERVICE_ACCOUNT: &[Column] = &[NAME, text("Secrets", "How many secrets are listed."), AGE];

static EVENT: &[Column] = &[
    text("Last Seen", "The time since the event was last seen."),
    text("Type", "Normal or Warning."),
    text("Reason", "Why it happened, in one word."),
    text("Object", "What it happened to."),
    wide("Subobject", "The part of the object that it happened to."),
    wide("Source", "Who reported it."),
    text("Message", "What happened."),
    wide("First Seen", "The time since the event was first seen."),
    wide("Count", "How often it was seen."),
    Column { priority: 1, ..NAME },
];

static LEASE: &[Column] = &[NAME, text("Holder", "Who holds the lease."), AGE];

static RUNTIME_CLASS: &[Column] = &[NAME, text("Handler", "What runs the pods of this class."), AGE];

static SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    text("SignerName", "Who is asked to sign."),
    text("Requestor", "Who asked."),
    text("RequestedDuration", "How long the certificate is to be valid."),
    text("Condition", "Whether the request was approved, denied or issued."),
];

static DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    text("Min Available", "How many of the pods must be available."),
    text("Max Unavailable", "How many of the pods may be unavailable."),
    integer("Allowed Disruptions", "How many pods may be evicted now."),
    AGE,
];
