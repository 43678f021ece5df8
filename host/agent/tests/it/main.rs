//! Whole-agent tests: the real agent over the real API server's registry, with a fake runtime.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says by them what it expects")]

mod adoption;
mod cable;
mod endpoints;
mod fencing;
mod lifecycle;
mod programs;
mod streams;
mod world;
