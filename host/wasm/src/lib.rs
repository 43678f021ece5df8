//! The wasm runtime: `wherry_runtime::Runtime` over wasmtime, which no other crate imports.
//!
//! Owns the engine and its pool of instances, modules and their compiled code on disk, the linking of WASI 0.1, 0.2
//! and 0.3, sockets over the pod's virtual network, and a container's limits. Knows no Kubernetes object.
//!
//! One thread ticks epochs while guests run; guests run on the threads that the binary gives.

mod codes;
mod command;
mod compile;
mod container;
mod engine;
mod images;
mod limits;
mod linger;
mod link;
mod maps;
mod outgoing;
mod places;
mod request;
mod runtime;
mod serve;
mod signature;
mod sockets;
mod state;
mod stdin;
mod stdio;
mod terminal;
mod throttle;
mod ticker;

pub use compile::compile;
pub use images::Images;
pub use runtime::{SetupError, WasmConfig, WasmRuntime};
