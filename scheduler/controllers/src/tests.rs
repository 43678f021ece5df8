//! Each controller alone, step by step, and all together. The API is the real one, in memory.

mod deployments;
mod disruption;
mod driver;
mod endpoints;
mod garbage;
mod nodes;
mod others;
mod replicasets;
mod scene;
mod signing;
mod whole;
