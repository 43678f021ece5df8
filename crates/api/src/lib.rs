//! The Kubernetes kinds that Wherry serves, and all that is known about them without doing anything:
//! names and scopes, defaults, validation, selectors, quantities, merge facts, table columns, wire encodings.
//!
//! No I/O, no clock, no async: every crate of both planes imports this one.

mod admit;
mod default;
pub mod error;
pub mod image_name;
pub mod json;
pub mod key;
pub mod kinds;
mod logins;
pub mod merge;
pub mod node_lease;
pub mod openapi;
pub mod pod_security;
pub mod protobuf;
pub mod quantity;
mod references;
pub mod resource;
mod revocations;
pub mod routes;
pub mod selector;
pub mod table;
pub mod taint;
mod validate;
pub mod well_known;
pub mod yaml;

pub use error::{Cause, Error, Reason};
pub use k8s_openapi;
pub use key::{ObjectKey, Revision};
pub use kinds::Kind;
pub use logins::Login;
pub use node_lease::NodeLease;
pub use references::References;
pub use resource::{RESOURCES, Resource};
pub use revocations::Revocations;
