//! The cluster's certificates: one authority, the certificates it issues, the requests and tokens by which others get
//! theirs, and the rustls configurations made of them all, in which certificates can be replaced.
//!
//! Keys are ECDSA P-256. An identity is a certificate's subject, as in Kubernetes: the common name is the user,
//! the organizations are the groups. Owns no files: callers store the PEM texts.

mod authority;
mod holder;
mod live;
mod pinned;
mod request;
mod tls;
mod token;
mod validity;

pub use authority::{Authority, Issued, PkiError, Subject, self_signed};
pub use holder::Holder;
pub use live::LiveCertificate;
pub use pinned::{PinnedAuthority, key_hash};
pub use request::{SigningRequest, Usage, new_key, request};
pub use tls::{client_config, server_config};
pub use token::{JoinToken, KeyHash, TokenError};
pub use validity::Validity;

#[cfg(test)]
mod tests;
