//! Nodes in one process, joined by real TLS over loopback.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod datagrams;
mod death;
mod identity;
mod masters;
mod offer;
mod streams;
mod world;
