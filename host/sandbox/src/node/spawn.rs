//! Sandboxes as processes: this binary again, confined, each as an unprivileged user of its own where the node may do that.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wherry_confine::{CPU_UNBOUNDED, Cgroup, CgroupLimits, Start, USERS_MAX, user};

use super::grants;
use super::launch::{Directory, Launch, Launcher, Pidfd, Process};
use super::pace::Paced;
use crate::confined::THREADS_MAX;

/// The verb that makes this binary a sandbox.
pub const VERB: &str = "sandbox";

/// What tells processes that compile from sandboxes, whose names begin otherwise.
const COMPILER_PREFIX: &str = "compiler-";

/// What the names of all nodes' cgroups begin with.
const CGROUPS: &str = "wherry-";

/// How often, and after how long again, a node that ends looks for cgroups in which no process is any more.
const SWEEPS_MAX: u32 = 20;
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// A sandbox may have all of the machine's memory but one part in so many, which is left to the node.
const PARTS_OF_MEMORY: u64 = 5;

/// Starts sandboxes as processes.
pub struct Processes {
    /// Tells this node's sandboxes from those of others on this machine.
    node: PathBuf,
}

impl Processes {
    /// For the node that keeps its data there. What nodes that were killed have left of cgroups is removed, also those that
    /// never came back.
    pub fn new(node: PathBuf) -> Self {
        Cgroup::sweep(CGROUPS);
        Self { node }
    }

    /// Removes the cgroups of sandboxes that have ended, or are about to: for a node that ends.
    pub async fn sweep(&self) {
        for _ in 0..SWEEPS_MAX {
            if Cgroup::sweep(&self.cgroups()) {
                return;
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    /// What the names of this node's cgroups begin with.
    fn cgroups(&self) -> String {
        format!("{CGROUPS}{:016x}-", hash(&self.node))
    }

    /// The cgroup of a sandbox, as far as there can be one: what cannot is announced on the Node.
    fn cgroup(&self, name: &str) -> Option<Cgroup> {
        let limits = CgroupLimits {
            memory_bytes_max: Some(memory_bytes() / PARTS_OF_MEMORY * (PARTS_OF_MEMORY - 1)),
            threads_max: Some(THREADS_MAX),
            cpu_millis_max: Some(CPU_UNBOUNDED),
        };
        Cgroup::make(&self.cgroup_name(name), &limits).0
    }

    fn cgroup_name(&self, name: &str) -> String {
        format!("{}{:016x}", self.cgroups(), hash(name))
    }

    /// A user for a process that compiles: another for each, as far as there are users.
    pub(crate) fn compilers_user(&self) -> Option<u32> {
        static COMPILERS: AtomicU64 = AtomicU64::new(0);
        self.user(&format!("{COMPILER_PREFIX}{}", COMPILERS.fetch_add(1, Ordering::Relaxed)))
    }

    /// Which of the machine's users for sandboxes a sandbox gets: by its name, so that its files stay its own.
    fn index(&self, name: &str) -> u32 {
        u32::try_from(hash((&self.node, name)) % u64::from(USERS_MAX)).unwrap_or(0)
    }
}

impl Launcher for Processes {
    fn launch(&self, launch: Launch<'_>) -> io::Result<Box<dyn Process>> {
        let user = self.user(launch.name);
        for directory in launch.directories.iter().filter(|directory| directory.own) {
            own(&directory.path, user)?;
        }
        let start = Start { arguments: arguments(&launch, user), socket: launch.listener, stderr: None };
        let child = start.command().spawn()?.id();
        let enter = |cgroup: &Cgroup| {
            let entered = cgroup.add(child);
            entered.inspect_err(|error| tracing::warn!(%error, "a sandbox cannot enter its cgroup")).is_ok()
        };
        // Twice, since another node of this machine may take one that is empty yet for one that was left behind.
        let cgroup = (0..2).find_map(|_| self.cgroup(launch.name).filter(enter));
        Ok(Box::new(Paced::new(Pidfd::open(child)?, cgroup)))
    }

    fn find(&self, name: &str, id: u32) -> Option<Box<dyn Process>> {
        let cgroup = Cgroup::adopt(&self.cgroup_name(name), id);
        Some(Box::new(Paced::new(Pidfd::open(id).ok()?, cgroup)))
    }

    fn user(&self, name: &str) -> Option<u32> {
        user(self.index(name)).ok()
    }
}

/// What the machine has.
fn memory_bytes() -> u64 {
    let facts = rustix::system::sysinfo();
    facts.totalram.saturating_mul(facts.mem_unit.into())
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The sandbox's command line.
fn arguments(launch: &Launch<'_>, user: Option<u32>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![VERB.into(), launch.name.into()];
    arguments.extend(user.map(|user| format!("--user={user}").into()));
    for Directory { path, writable, .. } in launch.directories {
        arguments.extend([if *writable { "--writable" } else { "--readable" }.into(), path.into()]);
    }
    arguments
}

/// Makes a directory that is the sandbox's own.
fn own(directory: &Path, user: Option<u32>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    user.map_or(Ok(()), |user| grants::give(directory, user))
}
