//! The cluster's certificates: one authority, the certificates it issues, and the rustls configurations made of them.
//!
//! Keys are ECDSA P-256. An identity is a certificate's subject, as in Kubernetes: the common name is the user,
//! the organizations are the groups. Owns no files: callers store the PEM texts.

mod authority;
mod tls;

pub use authority::{Authority, Issued, PkiError, Subject, self_signed};
pub use tls::{client_config, server_config, subject_of};

#[cfg(test)]
mod tests;
