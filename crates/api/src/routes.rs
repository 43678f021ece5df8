//! Paths of the API server that are Wherry's own, as it and its clients spell them.

/// The whole state, saved and restored.
pub const SNAPSHOT: &str = "/wherry/v1/snapshot";
/// Where masters are listed, admitted and removed; the paths of what else they say to each other begin so.
pub const MASTERS: &str = "/wherry/v1/masters";
/// Where a master that joins is given the keys that all masters share, below [`MASTERS`].
pub const KEYS: &str = "/keys";
/// Where the log's messages go, below [`MASTERS`].
pub const MESSAGES: &str = "/messages";
