//! What is Wherry's own of what the API server speaks: paths, and the words of connections that nodes offer.

/// The whole state, saved and restored.
pub const SNAPSHOT: &str = "/wherry/v1/snapshot";
/// Where masters are listed, admitted and removed; the paths of what else they say to each other begin so.
pub const MASTERS: &str = "/wherry/v1/masters";
/// Where a master that joins is given the keys that all masters share, below [`MASTERS`].
pub const KEYS: &str = "/keys";
/// Where the log's messages go, below [`MASTERS`].
pub const MESSAGES: &str = "/messages";
/// What TLS agrees on (ALPN) where who has made a connection is the one that is asked over it, by HTTP/2: a node behind NAT,
/// to which nobody can connect.
pub const OFFER: &[u8] = b"wherry-offer";
/// The name that every master's certificate has, whatever its address; one of [`MASTER_NAMES`].
pub const MASTER_NAME: &str = "kubernetes.default.svc";
/// The names that masters' certificates have, and nobody else's.
pub const MASTER_NAMES: [&str; 5] =
    ["localhost", "kubernetes", "kubernetes.default", MASTER_NAME, "kubernetes.default.svc.cluster.local"];
/// The authority of a CONNECT (RFC 9113, section 8.5) for a connection to the endpoints of a node.
pub const RELAY: &str = "relay:0";
/// The header of such a CONNECT that names the node.
pub const RELAY_TO: &str = "wherry-relay-to";
