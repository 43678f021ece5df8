//! A sandbox's first moments: what it was given to use, and its confinement to that.

use std::path::PathBuf;

use wherry_confine::{ConfineError, Directory, Plan, confine, kernel_support};

/// Connections, files of modules and logs: as many as a busy namespace has.
const OPEN_FILES_MAX: u64 = 65_536;
/// Threads of guests, of the runtime's and of the log.
pub(crate) const THREADS_MAX: u64 = 512;
/// No file of a guest grows beyond this.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// What a sandbox is given on its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The user that it becomes; `None`: it stays the node's.
    pub user: Option<u32>,
    /// The directories that it may read.
    pub readable: Vec<PathBuf>,
    /// The directories that it may write, too.
    pub writable: Vec<PathBuf>,
}

/// What this machine lacks of what keeps guests in the sandboxes that this process starts, a sentence each.
pub fn confinement_lacking() -> Vec<String> {
    kernel_support().iter().map(ToString::to_string).collect()
}

/// Confines this process, which must have no thread yet, for good. What this machine lacks, a sentence each.
pub fn confine_to(granted: &Granted) -> Result<Vec<String>, ConfineError> {
    let directories = |paths: &[PathBuf], writable| {
        paths.iter().map(|path| Directory { path: path.clone(), writable }).collect::<Vec<_>>()
    };
    let plan = Plan {
        user: granted.user,
        directories: [directories(&granted.readable, false), directories(&granted.writable, true)].concat(),
        descriptors: Vec::new(),
        open_files_max: OPEN_FILES_MAX,
        threads_max: granted.user.map(|_| THREADS_MAX),
        file_bytes_max: FILE_BYTES_MAX,
        data_bytes_max: None,
        cpu_seconds_max: None,
    };
    Ok(confine(&plan)?.lacking.iter().map(ToString::to_string).collect())
}
