//! Linux images as containers of a Docker Engine, or of Podman's service that speaks the same API, in pods as modules are.
//!
//! Owns the connection to the engine, which may come and go, the sandbox container of each pod, and containers' starts, ends,
//! output and processes. Knows no Kubernetes objects; the pod network is `wherry-podnet`'s, which bridges it into the sandbox.
//! The engine is not trusted to answer: every call has a limit of time. What containers print is bounded.

mod begin;
mod container;
mod create;
mod engine;
mod exec;
#[cfg(test)]
mod fake;
mod follow;
mod images;
mod inner;
mod labels;
mod load;
mod logs;
mod names;
mod pause;
mod progress;
mod pulled;
mod raw;
mod runtime;
mod sandbox;
mod stored;
mod survivors;
mod usage;

pub use create::Resolver;
pub use engine::EngineChoice;
pub use inner::DockerConfig;
pub use runtime::DockerRuntime;

/// The runtime's name: the runtime class of pods that want it, and the scheme of its containers' ids.
const NAME: &str = "docker";
