//! The node's agent, a kubelet for Wherry: registers the node, runs the pods bound to it, reports what becomes of them.
//!
//! Owns the pod state machine, probes, volumes, environment, logs, status, events and the kubelet's HTTPS endpoints.
//! Knows containers only as [`wherry_runtime::Runtime`] and networks only as [`wherry_vnet::Network`].

mod agent;
mod config;
mod context;
mod downward;
mod env;
mod events;
mod fence;
mod images;
mod lease;
pub mod logs;
mod node;
mod objects;
pub mod pod;
mod probes;
mod programs;
mod references;
mod runtimes;
mod security;
pub mod server;
mod services;
mod silence;
pub mod status;
mod storage;
mod termination;
mod tokens;
mod volumes;
mod worker;

pub use agent::{Agent, AgentHandle, SHUTDOWN_GRACE_MAX};
pub use config::{AgentConfig, PODS_MAX_DEFAULT};
pub use images::ImageGc;
pub use node::{VERSION, register, runtime_label};
pub use runtimes::Runtimes;
