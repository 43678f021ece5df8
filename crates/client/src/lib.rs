//! The Kubernetes API as Rust calls, over any transport, and the informers and work queues that stand on it.
//!
//! Controllers and the embedded node hold a [`Client`] over a transport that calls the API server's registry
//! directly; a remote node and the command line hold one over HTTPS. Nothing above can tell which.

mod api;
mod followed;
mod https;
mod informer;
mod kubeconfig;
mod queue;
mod resume;
mod revocations;
mod transport;

pub use api::{Api, Client, Event, List};
pub use followed::Followed;
pub use https::{
    Carried, ConnectError, Https, Route, TlsConnector, Upgraded, Way, causes, escape, pools, refusal, route_of,
    tls_config, watch_events, watch_route,
};
pub use informer::{Group, Groups, Informer, Picture, Projection};
pub use kubeconfig::{Kubeconfig, KubeconfigError, SERVERS_EXTENSION};
pub use queue::WorkQueue;
pub use resume::resumed;
pub use revocations::{revocations, revoked};
pub use transport::{
    DeleteOptions, EventKind, ListOptions, PatchKind, Precondition, Propagation, RawEvent, RawWatch, Request,
    Transport, Verb, WatchOptions,
};
