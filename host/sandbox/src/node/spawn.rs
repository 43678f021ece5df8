//! Sandboxes as processes: this binary again, confined, each as an unprivileged user of its own where the node may do that.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use wherry_confine::{SOCKET, Start, USERS_MAX, user};

use super::grants;
use super::launch::{Directory, Launch, Launcher, Pidfd, Process};

/// The verb that makes this binary a sandbox.
pub const VERB: &str = "sandbox";

/// Starts sandboxes as processes.
pub struct Processes {
    /// Tells this node's sandboxes from those of others on this machine.
    node: PathBuf,
}

impl Processes {
    /// For the node that keeps its data there.
    pub const fn new(node: PathBuf) -> Self {
        Self { node }
    }

    /// Which of the machine's users for sandboxes a sandbox gets: by its name, so that its files stay its own.
    fn index(&self, name: &str) -> u32 {
        let mut hasher = DefaultHasher::new();
        (&self.node, name).hash(&mut hasher);
        u32::try_from(hasher.finish() % u64::from(USERS_MAX)).unwrap_or(0)
    }
}

impl Launcher for Processes {
    fn launch(&self, launch: Launch<'_>) -> io::Result<Box<dyn Process>> {
        let index = self.index(launch.name);
        let mut arguments: Vec<OsString> = vec![VERB.into(), launch.name.into()];
        let mut descriptors = vec![launch.listener];
        for (directory, number) in launch.directories.iter().zip(SOCKET + 1..) {
            descriptors.push(open(directory, self.user(launch.name))?);
            let access = if directory.writable { "rw" } else { "ro" };
            arguments.push(format!("--directory={access}:{number}").into());
        }
        let start = Start { index, arguments, descriptors, stderr: None };
        let (mut command, _announced_by_the_sandbox_itself) = start.command().map_err(io::Error::other)?;
        let child = command.spawn()?;
        Ok(Box::new(Pidfd::open(child.id())?))
    }

    fn user(&self, name: &str) -> Option<u32> {
        user(self.index(name)).ok()
    }
}

fn open(directory: &Directory, user: Option<u32>) -> io::Result<OwnedFd> {
    if directory.own {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory.path)?;
        if let Some(user) = user {
            grants::give(&directory.path, user)?;
        }
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(&directory.path, flags, Mode::empty())?)
}
