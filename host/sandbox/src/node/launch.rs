//! A sandbox's process: how it is started is its launcher's matter; how it is killed and how it ended is looked up here.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a sandbox's process is started with.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The sandbox's name.
    pub name: &'a str,
    /// Where it waits for the node.
    pub listener: OwnedFd,
    /// What it may open files in, for as long as it lives.
    pub directories: &'a [Directory],
}

/// A directory that a sandbox may use, with all beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Whether files may be made, changed and removed there.
    pub writable: bool,
    /// Whether it is the sandbox's own, and so is made where it is missing and given to its user.
    pub own: bool,
}

/// Starts sandboxes' processes.
pub trait Launcher: Send + Sync + 'static {
    /// Starts one.
    fn launch(&self, launch: Launch<'_>) -> io::Result<Box<dyn Process>>;

    /// A process that an earlier process of the node has started; `None`: it is gone.
    fn find(&self, name: &str, id: u32) -> Option<Box<dyn Process>>;

    /// The unprivileged user that the sandbox runs as, whom its files are given to; `None`: the node's own.
    fn user(&self, name: &str) -> Option<u32>;
}

/// A process of a sandbox.
#[async_trait]
pub trait Process: Send + Sync + 'static {
    /// Its number.
    fn id(&self) -> u32;

    /// SIGKILL.
    fn kill(&self);

    /// What it has used of the CPU; `None`: unknown.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }

    /// What it may use of the CPU from now on, in thousandths of a core; `None`: all there is. Best effort.
    fn limit_cpu(&self, _milli: Option<u32>) {}

    /// Resolves when it has ended, and says how.
    async fn ended(&self) -> String;
}

/// A process by its descriptor: a child of this process, or of an earlier one of the node.
pub struct Pidfd {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
}

impl Pidfd {
    /// Opens a process.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        let process = Self { pid, fd: wherry_base::watched(fd, Interest::READABLE)? };
        // An earlier process of the node may have ended while it had this one stopped.
        process.signal(Signal::CONT);
        Ok(process)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _gone_already = rustix::process::pidfd_send_signal(self.fd.get_ref(), signal);
    }
}

#[async_trait]
impl Process for Pidfd {
    fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn kill(&self) {
        self.signal(Signal::KILL);
    }

    async fn ended(&self) -> String {
        let _readable_is_ended = self.fd.readable().await;
        let status =
            rustix::process::waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(self.fd.get_ref())), WaitIdOptions::EXITED);
        // Not a child of this process where it was adopted: nobody can tell how it ended.
        let Ok(Some(status)) = status else { return "its process ended".to_owned() };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("its process ended with exit code {code}"),
            (_, Some(signal)) => format!("its process was ended by signal {signal}"),
            _ => "its process ended".to_owned(),
        }
    }
}
