//! A sandbox's role: this process runs guests for the node that started it, and may do nothing else.

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use wherry_base::{SystemClock, Trigger};
use wherry_sandbox::{ADOPTION_GRACE, Granted, GuestsConfig, SOCKET, confine_to};
use wherry_wasm::{WasmConfig, WasmRuntime};

use crate::config::{LogFormat, SandboxArgs};

/// How many requests and commands run at once in a sandbox. Its pool has a slot for each request, which costs a kilobyte.
const REQUESTS_MAX: u32 = 1024;
const COMMANDS_MAX: u32 = 3072;

/// Runs until the node has no use for this sandbox. To be called before this process has any thread.
pub fn run(args: SandboxArgs) -> anyhow::Result<()> {
    let SandboxArgs { user, readable, writable, .. } = args;
    let lacking = confine_to(&Granted { user, readable, writable })?;
    // SAFETY: the node that starts this process puts a socket there, and nothing in it reads a standard input.
    let listener = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    crate::log_to_stderr(LogFormat::Text);
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guests = tokio::runtime::Builder::new_multi_thread().thread_name("guests").enable_all().build()?;
    let config = WasmConfig {
        // Nothing is kept: code comes from the node, and files are mounted as directories already.
        directory: PathBuf::from("/nonexistent"),
        requests_max: REQUESTS_MAX,
        commands_max: COMMANDS_MAX,
        guests: guests.handle().clone(),
    };
    let runtime = Arc::new(WasmRuntime::given(config)?);
    let tasks = Trigger::new();
    let (threads, clock) = (guests.handle().clone(), SystemClock::shared());
    let adoption_grace = ADOPTION_GRACE;
    let config = GuestsConfig { listener, runtime, guests: threads, clock, lacking, adoption_grace };
    control.block_on(wherry_sandbox::serve(config, tasks.drain()))?;
    guests.shutdown_background();
    Ok(())
}
