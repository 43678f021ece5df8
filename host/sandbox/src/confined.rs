//! A sandbox's first moments: what it was given to use, and its confinement to that.

use std::os::fd::RawFd;
use std::path::PathBuf;

use wherry_confine::{ConfineError, Directory, Plan, SOCKET, confine, kernel_support};

/// Connections, files of modules and logs: as many as a busy namespace has.
const OPEN_FILES_MAX: u64 = 65_536;
/// Threads of guests, of the runtime's and of the log.
pub(crate) const THREADS_MAX: u64 = 512;
/// No file of a guest grows beyond this.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// A directory as it is named on the command line of a sandbox: `ro:NUMBER` or `rw:NUMBER`, of an inherited descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    descriptor: RawFd,
    writable: bool,
}

impl std::str::FromStr for Inherited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (access, number) = text.split_once(':').unwrap_or_default();
        let writable = match access {
            "rw" => true,
            "ro" => false,
            _ => return Err(format!("no directory: {text:?} is neither ro:NUMBER nor rw:NUMBER")),
        };
        let descriptor = number.parse().map_err(|_| format!("no descriptor: {number:?}"))?;
        Ok(Self { descriptor, writable })
    }
}

/// What this machine lacks of what keeps guests in the sandboxes that this process starts, a sentence each.
pub fn confinement_lacking() -> Vec<String> {
    kernel_support().iter().map(ToString::to_string).collect()
}

/// Confines this process, which must have no thread yet, for good. What this machine lacks, a sentence each.
pub fn confine_to(directories: &[Inherited]) -> Result<Vec<String>, ConfineError> {
    let path = |inherited: &Inherited| PathBuf::from(format!("/proc/self/fd/{}", inherited.descriptor));
    let rule = |inherited| Directory { path: path(inherited), writable: inherited.writable };
    let mut descriptors = vec![SOCKET];
    descriptors.extend(directories.iter().map(|inherited| inherited.descriptor));
    let is_own_user = wherry_confine::USERS_FIRST <= rustix::process::getuid().as_raw();
    let plan = Plan {
        directories: directories.iter().map(rule).collect(),
        descriptors,
        open_files_max: OPEN_FILES_MAX,
        threads_max: is_own_user.then_some(THREADS_MAX),
        file_bytes_max: FILE_BYTES_MAX,
        data_bytes_max: None,
    };
    Ok(confine(&plan)?.lacking.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_words() {
        assert_eq!("rw:4".parse(), Ok(Inherited { descriptor: 4, writable: true }));
        assert_eq!("ro:17".parse(), Ok(Inherited { descriptor: 17, writable: false }));
        for bad in ["4", "rx:4", "rw:", "ro:x", ""] {
            assert!(bad.parse::<Inherited>().is_err(), "{bad}");
        }
    }
}
