//! The plan of a sandbox process, and its enforcement on the calling process: each layer in its turn, the filter last.

use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::lacking::{self, Lacking, Layer};
use crate::{descriptors, files, limits, seccomp, start};

/// What a sandbox process may have. Everything that is not named here is refused.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The user, and the group, that the process becomes; `None`: it stays who it is.
    pub user: Option<u32>,
    /// The only directories (or single files) whose contents may be opened. They are fixed for the life of the process:
    /// not even a descriptor passed later lets it open a file *beneath* a directory that is not named here.
    pub directories: Vec<Directory>,
    /// The descriptors that stay open beside 0, 1 and 2.
    pub descriptors: Vec<RawFd>,
    /// How many descriptors may be open at once.
    pub open_files_max: u64,
    /// How many threads there may be. The kernel counts all threads of the *user*, so name it only where the user is the
    /// sandbox's own.
    pub threads_max: Option<u64>,
    /// The size to which a file may grow, in bytes; past it writing answers `EFBIG`. Memory files count: it must be no
    /// less than the initial memory of a module.
    pub file_bytes_max: u64,
    /// How much private memory may be writable, in bytes: a poor man's limit where no cgroup is. The address space itself
    /// cannot be limited, since a pool of wasm memories reserves terabytes of it.
    pub data_bytes_max: Option<u64>,
    /// How long the process may run on a CPU, in seconds, all threads together; then the kernel ends it.
    pub cpu_seconds_max: Option<u64>,
}

/// A directory that a sandbox process may use, with all beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is. It must exist, and whoever the process is before it is confined must be able to reach it.
    pub path: PathBuf,
    /// Whether files may be made, changed and removed there.
    pub writable: bool,
}

/// What is in force after [`confine`], and what the machine lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The layers that hold.
    pub in_force: Vec<Layer>,
    /// What does not hold, a sentence each.
    pub lacking: Vec<Lacking>,
}

/// Why a process could not be confined. It must not run guests then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Landlock and capabilities bind a thread, so threads that are there already would stay free.
    #[error("the process has {count} threads: it must be confined before it starts any")]
    Threads {
        /// How many there are.
        count: usize,
    },
    /// `/proc/self` cannot be read.
    #[error("cannot read /proc/self: is /proc mounted?")]
    Proc(#[source] io::Error),
    /// Inherited descriptors cannot be closed.
    #[error("cannot close the inherited descriptors")]
    Descriptors(#[source] io::Error),
    /// A resource limit was refused.
    #[error("cannot limit {what}")]
    Limit {
        /// What was to be limited.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Privileges cannot be given up.
    #[error("cannot give up {what}")]
    Privileges {
        /// What was to be given up.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A directory of the plan cannot be reached.
    #[error("cannot reach {path}: was it removed?")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Landlock is there and failed.
    #[error("cannot restrict the file system")]
    Landlock(#[source] Box<landlock::RulesetError>),
    /// Seccomp is there and failed.
    #[error("cannot filter system calls")]
    Seccomp(#[source] seccompiler::Error),
}

/// Confines the calling process for good. It is to be called at the very start of `main`: before any thread, and before
/// anything owns a descriptor that the plan does not name, because those are closed.
///
/// A layer that the kernel lacks is left out and named in the report; one that the kernel has and refuses is an error.
/// The process gets no signal when its parent dies: a sandbox outlives the agent that started it. It leads a session of its
/// own, so that no signal to the agent's group or terminal reaches it.
pub fn confine(plan: &Plan) -> Result<Report, ConfineError> {
    let count = std::fs::read_dir("/proc/self/task").map_err(ConfineError::Proc)?.count();
    if count != 1 {
        return Err(ConfineError::Threads { count });
    }
    descriptors::close_all_but(&plan.descriptors).map_err(ConfineError::Descriptors)?;
    // A process that leads a group already has been kept apart by whoever started it.
    let _apart = rustix::process::setsid();
    limits::enforce(plan)?;
    let rules = files::rules(&plan.directories)?;
    plan.user.map_or(Ok(()), become_user)?;
    give_up_privileges()?;
    let landlock_abi = files::enforce(rules)?;
    let filtered = seccomp::enforce()?;
    Ok(report(plan, rustix::process::getuid().as_raw(), landlock_abi, filtered))
}

/// This user and this group alone, for good.
fn become_user(user: u32) -> Result<(), ConfineError> {
    let failed = |what| move |errno: rustix::io::Errno| ConfineError::Privileges { what, source: errno.into() };
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::thread::set_thread_groups(&[]).map_err(failed("supplementary groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("its group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("its user"))?;
    // The kernel now withholds what /proc/self tells, as if the process could know a secret of its former user's.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(failed("its former user's secrets"))
}

/// No new privileges through a file's bits, and none of the old ones: also where root could not become another user.
fn give_up_privileges() -> Result<(), ConfineError> {
    let failed = |what| move |errno: rustix::io::Errno| ConfineError::Privileges { what, source: errno.into() };
    rustix::thread::set_no_new_privs(true).map_err(failed("new privileges"))?;
    rustix::thread::clear_ambient_capability_set().map_err(failed("ambient capabilities"))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(failed("capabilities"))
}

fn report(plan: &Plan, uid: u32, landlock_abi: u32, filtered: bool) -> Report {
    let mut report = Report::default();
    report.in_force.extend([Layer::Descriptors, Layer::Limits, Layer::NoPrivileges]);
    if uid >= start::USERS_FIRST {
        report.in_force.push(Layer::OwnUser(uid));
    } else {
        report.lacking.push(Lacking::OwnUser { why: format!("it runs as user {uid}") });
    }
    match plan.threads_max {
        Some(_) => report.in_force.push(Layer::Threads),
        None => report.lacking.push(Lacking::Threads),
    }
    if landlock_abi > 0 {
        report.in_force.push(Layer::Landlock(landlock_abi));
    }
    report.lacking.extend(lacking::of_landlock(landlock_abi));
    if filtered {
        report.in_force.push(Layer::SystemCalls);
    } else {
        report.lacking.push(Lacking::SystemCalls);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(threads_max: Option<u64>) -> Plan {
        let (user, directories, descriptors) = (None, Vec::new(), Vec::new());
        Plan {
            user,
            directories,
            descriptors,
            open_files_max: 8,
            threads_max,
            file_bytes_max: 8,
            data_bytes_max: None,
            cpu_seconds_max: None,
        }
    }

    #[test]
    fn every_layer_is_either_in_force_or_lacking() {
        let base = [Layer::Descriptors, Layer::Limits, Layer::NoPrivileges];
        let whole = report(&plan(Some(9)), start::USERS_FIRST + 3, 6, true);
        let more = [Layer::OwnUser(start::USERS_FIRST + 3), Layer::Threads, Layer::Landlock(6), Layer::SystemCalls];
        assert_eq!(whole, Report { in_force: [&base[..], &more[..]].concat(), lacking: vec![] });

        let bare = report(&plan(None), 1000, 0, false);
        let user = Lacking::OwnUser { why: "it runs as user 1000".into() };
        let lacking = vec![user, Lacking::Threads, Lacking::Landlock, Lacking::SystemCalls];
        assert_eq!(bare, Report { in_force: base.to_vec(), lacking });
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        // libtest runs this in a thread of its own, so there are two at least.
        let refused = confine(&plan(None)).unwrap_err();
        assert!(matches!(refused, ConfineError::Threads { count } if count > 1), "{refused}");
    }
}
