//! A network namespace that is made here, and ends with the last handle and process in it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::resume_unwind;
use std::process::Command;
use std::thread::scope;

use anyhow::{Context, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace.
pub struct Place(OwnedFd);

impl Place {
    /// A new one, whose loopback is up. Needs root and `ip`.
    pub fn new() -> anyhow::Result<Self> {
        let netns = scope(|scope| scope.spawn(own_namespace).join()).unwrap_or_else(|panic| resume_unwind(panic));
        let place = Self(netns.context("no network namespace can be made")?);
        place.ip("link set lo up")?;
        Ok(place)
    }

    /// Does it there, on a thread that is there, with all threads and processes that it starts.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        #[expect(clippy::expect_used, reason = "a test fails by panicking")]
        let entered = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.0.as_fd(), kind).expect("who made a namespace may enter it");
            work()
        };
        scope(|scope| scope.spawn(entered).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// How it is named to `ip`, and to other processes.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Another handle of it.
    pub fn handle(&self) -> std::io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Does there what `ip` is told by these words.
    pub fn ip(&self, words: &str) -> anyhow::Result<()> {
        let output = self.within(|| Command::new("ip").args(words.split(' ')).output()).context("ip")?;
        ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

fn own_namespace() -> rustix::io::Result<OwnedFd> {
    // SAFETY: only the network namespace of this thread is made anew, which shares no memory with others by it.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
