//! Whole-agent tests: the real agent over a real store, with a fake runtime.

mod endpoints;
mod lifecycle;
mod store_client;
mod world;
