//! Resource limits of the calling process.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::confine::{ConfineError, Plan};

/// Lowers the limits of the process to the plan's, for good.
pub fn enforce(plan: &Plan) -> Result<(), ConfineError> {
    ignore_file_size_signal()?;
    limit("core dumps", Resource::Core, 0)?;
    limit("open files", Resource::Nofile, plan.open_files_max)?;
    limit("the size of files", Resource::Fsize, plan.file_bytes_max)?;
    if let Some(threads) = plan.threads_max {
        limit("threads", Resource::Nproc, threads)?;
    }
    if let Some(bytes) = plan.data_bytes_max {
        limit("writable memory", Resource::Data, bytes)?;
    }
    if let Some(seconds) = plan.cpu_seconds_max {
        limit("time on a CPU", Resource::Cpu, seconds)?;
    }
    Ok(())
}

/// Sets both the limit and its ceiling. A process without privileges may not raise the ceiling, so a lower one stays.
fn limit(what: &'static str, resource: Resource, wanted: u64) -> Result<(), ConfineError> {
    let value = getrlimit(resource).maximum.map_or(wanted, |ceiling| wanted.min(ceiling));
    let both = Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(resource, both).map_err(|errno| ConfineError::Limit { what, source: errno.into() })
}

/// A file that grows past its limit is the guest's error (`EFBIG`), not the end of the process.
fn ignore_file_size_signal() -> Result<(), ConfineError> {
    // SAFETY: SIG_IGN runs no code of ours, and SIGXFSZ is a valid signal.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let failed = || ConfineError::Limit { what: "the size of files", source: io::Error::last_os_error() };
    if before == libc::SIG_ERR { Err(failed()) } else { Ok(()) }
}
