//! The Kubernetes API over the store: verbs, admission, identity and the wire.
//!
//! [`Registry`] carries out verbs for an [`Identity`]; [`serve`] speaks HTTP for it
//! ([`HttpApi`], whose requests something else may carry); [`Registry::client`] is the way
//! of in-process clients, with the same admission and identity but no HTTP. The only crate that serves HTTP routes.

mod authenticate;
mod authorize;
mod http;
mod identity;
mod masters;
mod node_graph;
mod registry;
mod restriction;
mod serve;

pub use crate::http::{HttpApi, Readiness};
pub use identity::Identity;
pub use masters::{Lines as MasterLines, MasterTransport, Masters, NoAnswer};
pub use registry::{DefaultTolerations, Registry, RegistryConfig};
pub use serve::{ServeConfig, serve};
