//! The node's side of sandboxes: it starts them, speaks with them, and outlives them.

mod asked;
mod container;
mod grants;
mod launch;
mod link;
mod pace;
mod requests;
mod runtime;
mod sandboxes;
mod spawn;
mod survivors;

pub use launch::{Directory, Launch, Launcher, Pidfd, Process};
pub use runtime::{Grouping, RuntimeConfig, SandboxRuntime};
pub use sandboxes::{SandboxConfig, Sandboxes};
pub use spawn::{Processes, VERB};
