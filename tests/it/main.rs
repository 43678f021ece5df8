//! Whole clusters: the real binary, started for each test, driven as its users drive it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agent;
mod api;
mod between;
mod cluster;
mod commands;
mod controllers;
mod disk;
mod docker;
mod drain;
mod failure;
mod faults;
mod foreign;
mod ingress;
mod join;
mod kubectl;
mod load;
mod manifests;
mod masters;
mod net;
mod objects;
mod pulls;
mod sandboxes;
mod servers;
mod services;
mod snapshot;
mod start;
mod streams;
mod terminal;
mod verbs;
mod wire;

/// The binary under test.
pub const WHERRY: &str = env!("CARGO_BIN_EXE_wherry-under-test");
