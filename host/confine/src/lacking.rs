//! The layers of a sandbox in words: those in force, and those that a machine lacks, so that no lack is silent.

use std::fmt;

use crate::{cgroup, files, seccomp, start};

/// A layer that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Inherited descriptors are closed.
    Descriptors,
    /// No core dumps; open files and the size of files are bounded.
    Limits,
    /// No capabilities, and none to be had by running a program.
    NoPrivileges,
    /// The process is a user of its own.
    OwnUser(u32),
    /// The number of threads is bounded.
    Threads,
    /// Files, sockets and signals are confined by this version of Landlock.
    Landlock(u32),
    /// System calls are filtered.
    SystemCalls,
}

/// A layer that this machine lacks, for the Node's conditions and the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lacking {
    /// Sandboxes share the agent's user.
    OwnUser {
        /// What stands against another user.
        why: String,
    },
    /// The number of threads of a sandbox has no bound by resource limits.
    Threads,
    /// There is no Landlock.
    Landlock,
    /// Landlock does not see truncation (before Linux 6.2).
    LandlockTruncate,
    /// Landlock does not see TCP (before Linux 6.7).
    LandlockNetwork,
    /// Landlock does not see what is asked of devices (before Linux 6.10).
    LandlockDevices,
    /// Landlock does not see signals and abstract sockets (before Linux 6.12).
    LandlockScopes,
    /// System calls cannot be filtered.
    SystemCalls,
    /// A resource of the sandbox is not bounded by a cgroup.
    Cgroup {
        /// `memory`, `pids` or `cpu`.
        controller: &'static str,
        /// What stands against it.
        why: String,
    },
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnUser { why } => {
                return write!(f, "Sandboxes have no user of their own ({why}), so they own what the agent's user owns.");
            }
            Self::Cgroup { controller, why } => {
                return write!(f, "No cgroup bounds the {controller} of a sandbox: {why}.");
            }
            Self::Threads => "No resource limit bounds the threads of a sandbox, since it shares its user.",
            Self::Landlock => "The kernel has no Landlock (Linux 5.13, lsm=landlock): any file that the user may open is open to a sandbox.",
            Self::LandlockTruncate => "Landlock before Linux 6.2 lets a sandbox truncate files that its user may write.",
            Self::LandlockNetwork => "Landlock before Linux 6.7 has no rules for TCP: only the system call filter refuses it.",
            Self::LandlockDevices => "Landlock before Linux 6.10 has no rules for devices: only the system call filter refuses them.",
            Self::LandlockScopes => "Landlock before Linux 6.12 confines no signals: only the system call filter refuses them.",
            Self::SystemCalls => "The kernel has no seccomp filters: a sandbox may make any system call.",
        })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnUser(uid) => return write!(f, "user {uid}"),
            Self::Landlock(abi) => return write!(f, "Landlock {abi}"),
            Self::Descriptors => "no inherited descriptors",
            Self::Limits => "limits of files and core dumps",
            Self::NoPrivileges => "no privileges",
            Self::Threads => "limit of threads",
            Self::SystemCalls => "filter of system calls",
        })
    }
}

/// What a sandbox that the calling process starts would lack on this machine. Nothing is changed.
pub fn kernel_support() -> Vec<Lacking> {
    let mut lacking = Vec::new();
    if let Err(no_user) = start::user(0) {
        lacking.extend([no_user, Lacking::Threads]);
    }
    lacking.extend(of_landlock(files::abi()));
    if !seccomp::available() {
        lacking.push(Lacking::SystemCalls);
    }
    lacking.extend(cgroup::lacking());
    lacking
}

/// What a version of Landlock does not guard; 0 is none at all.
pub(crate) fn of_landlock(abi: u32) -> Vec<Lacking> {
    if abi == 0 {
        return vec![Lacking::Landlock];
    }
    let since = [
        (3, Lacking::LandlockTruncate),
        (4, Lacking::LandlockNetwork),
        (5, Lacking::LandlockDevices),
        (6, Lacking::LandlockScopes),
    ];
    since.into_iter().filter(|(version, _)| abi < *version).map(|(_, lacking)| lacking).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_lack_more() {
        assert_eq!(of_landlock(0), [Lacking::Landlock]);
        assert_eq!(of_landlock(4), [Lacking::LandlockDevices, Lacking::LandlockScopes]);
        assert_eq!(of_landlock(1).len(), 4);
        assert_eq!(of_landlock(7), []);
    }

    #[test]
    fn every_lack_is_a_sentence() {
        let controller = Lacking::Cgroup { controller: "memory", why: "it is read-only".into() };
        assert_eq!(controller.to_string(), "No cgroup bounds the memory of a sandbox: it is read-only.");
        assert!(kernel_support().iter().all(|lacking| lacking.to_string().ends_with('.')));
    }
}
