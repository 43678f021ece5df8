//! Modules in processes of their own: one for each namespace of a node, or one for a pod.
//!
//! `node` is the agent's side, a `Runtime` whose containers are elsewhere: it starts sandboxes, hands them what they may
//! have, and survives whatever they do. `guests` is a sandbox's whole life. Between them stands one Unix socket, over
//! which bounded messages of one version pass, with descriptors beside them: `message` says which, `wire` how. `compiler`
//! turns one module into code in a process of its own.
//!
//! Knows neither wasmtime nor Kubernetes: what runs guests and what compiles them is given by whoever starts it.

mod channel;
mod compiler;
mod confined;
mod guests;
mod message;
mod node;
mod wire;

pub use compiler::{COMPILE_VERB, WITHOUT_EPOCHS, confine_compiler};
pub use confined::{Granted, confine_to, confinement_lacking};
pub use guests::{ADOPTION_GRACE, GuestsConfig, GuestsError, serve};
pub use message::VERSION;
pub use wherry_confine::SOCKET;

pub use node::{
    Directory, Grouping, Launch, Launcher, Pidfd, Process, Processes, RuntimeConfig, SandboxConfig, SandboxRuntime,
    Sandboxes, VERB,
};
