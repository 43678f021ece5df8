//! The wasm runtime with real guests: pods on a network of their own, in this process, without a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod commands;
mod files;
mod http;
mod limits;
mod network;
mod node;
