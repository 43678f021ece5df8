//! Names to which Kubernetes has given a meaning, and that more than one crate goes by. Those of taints are in `taint`.

/// The group that may do everything.
pub const ADMINISTRATORS: &str = "system:masters";
/// The group of nodes.
pub const NODES: &str = "system:nodes";
/// What a node's name begins with where it is a user.
pub const NODE_USER: &str = "system:node:";
/// The group of who joins with a bootstrap token.
pub const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// What the name of a bootstrap token's Secret begins with; the token's id follows.
pub const BOOTSTRAP_TOKEN_PREFIX: &str = "bootstrap-token-";
/// The type of a bootstrap token's Secret.
pub const BOOTSTRAP_TOKEN: &str = "bootstrap.kubernetes.io/token";
/// What the usages of a bootstrap token begin with in its Secret.
pub const TOKEN_USAGE_PREFIX: &str = "usage-bootstrap-";
/// The usage of a token by which a machine joins as a master: it opens the cluster's keys, and nothing else.
pub const MASTER_USAGE: &str = "master";
/// The group of who joins as a master.
pub const MASTER_BOOTSTRAPPERS: &str = "wherry:master-bootstrappers";
/// The group of masters towards each other: they speak for whoever asks them. No certificate of it is signed on request.
pub const MASTERS: &str = "wherry:masters";
/// What a master's name begins with where it is a user.
pub const MASTER_USER: &str = "system:master:";
/// The namespace, and the name, of the ConfigMap in which a cluster says what all of its machines go by.
pub const CLUSTER_INFO: (&str, &str) = ("kube-public", "cluster-info");
/// The namespace, and the name, of the ConfigMap whose values name the certificates that are worth nothing any more.
pub const REVOKED_CERTIFICATES: (&str, &str) = ("kube-system", "revoked-certificates");
/// The label of a node that others cannot connect to: where it is "true", it connects to them.
pub const BEHIND_NAT: &str = "wherry.dev/behind-nat";
/// The label of a node that names its zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The type of a Secret that holds a certificate and its key.
pub const TLS_SECRET: &str = "kubernetes.io/tls";
