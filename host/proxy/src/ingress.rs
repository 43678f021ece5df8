//! The ingress: HTTP and HTTPS from outside to Services, by host and path.
//!
//! `compile` makes an immutable matcher and certificate set of the objects, `keep` swaps them when objects change,
//! `serve` owns the connections, `forward` takes each request to an endpoint. Nothing here buffers a body.

mod body;
mod certificates;
mod compile;
mod facts;
mod failure;
mod forward;
mod headers;
mod keep;
mod matcher;
mod patience;
mod pool;
mod serve;
mod upgrade;

pub use certificates::CertificateError;
pub(crate) use certificates::Certificates;
pub(crate) use forward::Forwarder;
pub(crate) use keep::keep;
pub(crate) use serve::{serve_http, serve_https};

#[cfg(test)]
mod tests;
