//! Starts real `wherry` processes for tests: on free ports, in a directory of their own, ended by pid.

mod cluster;
mod engine;
mod http;
mod kubectl;
mod lan;
mod machine;
mod outside;
mod place;
mod pods;
mod process;
mod registry;
mod scenes;
mod script;
mod skipped;
mod tls;

pub use cluster::Cluster;
pub use engine::Engine;
pub use http::{Answer, get, get_at};
pub use kubectl::{Following, Kubectl, Printed};
pub use lan::{Host, Lan};
pub use machine::Machine;
pub use outside::{Connection, Wire, connect, tcp_exchange, udp_exchange};
pub use place::Place;
pub use pods::is_ready;
pub use process::{PATIENCE, Ports, Process, refused, refused_start, until};
pub use registry::{Asks, LOGIN, Registry};
pub use scenes::{Scene, play};
pub use script::{Line, Runner, script};
pub use tls::{http2, https};
