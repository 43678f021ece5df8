//! Starts real `wherry` processes for tests: on free ports, in a directory of their own, ended by pid.

mod cluster;
mod http;
mod kubectl;
mod scenes;

pub use cluster::{Cluster, PATIENCE, Ports, refused_start, until};
pub use http::{Answer, get};
pub use kubectl::{Kubectl, Printed};
pub use scenes::{Scene, play};
