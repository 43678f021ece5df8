//! What a container may touch, opened by the node and handed over: its mounts.
//!
//! The sandbox's user owns what is in the pods' own directories; what else is mounted (`hostPath`) keeps its owner.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::lchown;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use wherry_runtime::Mount;

/// How deep a volume's directories are given to the sandbox's user.
const DEPTH_MAX: u32 = 32;

/// Opens a mount for a process that could not reach it by its path.
pub(crate) fn open(mount: &Mount) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(&mount.host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Gives a directory of a pod, and what is in it, to the sandbox's user. Links are not followed.
pub(crate) fn give(path: &Path, user: u32) -> io::Result<()> {
    give_to(path, user, DEPTH_MAX)
}

fn give_to(path: &Path, user: u32, depth: u32) -> io::Result<()> {
    lchown(path, Some(user), Some(user))?;
    let is_directory = fs::symlink_metadata(path)?.is_dir();
    if is_directory && depth > 0 {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), user, depth - 1)?;
        }
    }
    Ok(())
}
