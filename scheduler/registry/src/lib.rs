//! The cluster's own image registry: the OCI distribution API over content-addressed files.
//!
//! Owns the files under its directory, the records of what they are called (ConfigMaps, so that all masters agree on them), and
//! the routes below `/v2/`. Blobs are shared by all repositories, and among the masters: any of them serves any image, and a
//! push that was acknowledged is on a majority of them. Has no authentication or authorization (the binary wraps the router in
//! a layer), no TLS, no referrers API.

mod digest;
mod error;
mod http;
mod name;
mod peer;
mod record;
mod records;
mod store;
#[cfg(test)]
mod tests;

pub use digest::Digest;
pub use error::Error;
pub use http::router;
pub use name::{Reference, RepositoryName};
pub use peer::{OF_MASTERS, Peer};
pub use store::{Collected, ImageStore, Manifest, Peers};

/// The largest blob, in bytes.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// How many uploads may be under way; the one that began first gives way to the next.
pub const UPLOADS_MAX: usize = 64;
