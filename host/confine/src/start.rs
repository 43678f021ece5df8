//! How the agent starts a sandbox process: this very binary again, as a user of its own, with the descriptors that it is
//! given and nothing else.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;

use crate::descriptors;
use crate::lacking::Lacking;

/// The first of the users of sandboxes. What systemd's and shadow's tables give away ends below it: host users at 60,000,
/// subordinate users at 600,100,000, systemd's containers at 0x6fff_ffff; from 0x7ffe_0000 on systemd has its own again.
pub const USERS_FIRST: u32 = 0x7000_0000;

/// How many users there are from [`USERS_FIRST`] on.
pub const USERS_MAX: u32 = 0x0ffe_0000;

/// The first descriptor that a sandbox inherits beside 0, 1 and 2: its socket to the agent. Others follow it.
pub const SOCKET: RawFd = 3;

/// The running binary, also where its path is hidden from the sandbox's user or holds a newer binary by now.
const OWN_BINARY: &str = "/proc/self/exe";

/// How a sandbox process is started.
#[derive(Debug)]
pub struct Start {
    /// Which of the sandboxes' users it gets where the agent is root: unique among the sandboxes of a *machine*.
    pub index: u32,
    /// The arguments after the program's name.
    pub arguments: Vec<OsString>,
    /// What the sandbox finds from descriptor [`SOCKET`] on, in this order: directories too, which its user could not
    /// reach by their paths.
    pub descriptors: Vec<OwnedFd>,
    /// Where its standard error goes; without one, to the agent's.
    pub stderr: Option<File>,
}

/// Why a sandbox process cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A descriptor cannot be kept for the child.
    #[error("cannot duplicate the sandbox's descriptors: are too many files open?")]
    Descriptors(#[source] io::Error),
}

impl Start {
    /// The command to spawn, and what the process will lack. The command owns the socket's child end: drop it after spawning,
    /// or the agent's end never sees the sandbox's end.
    ///
    /// The process leads a session of its own, so that no signal to the agent's group or terminal reaches it. It has an
    /// empty environment, `/` as its directory, no input and no output but standard error.
    pub fn command(self) -> Result<(Command, Vec<Lacking>), StartError> {
        // Above all that they become, so that none is overwritten before it is duplicated. The standard library's own pipe
        // to the child is made later: it is not among the numbers that they become, because those are held until then.
        let count = RawFd::try_from(self.descriptors.len()).unwrap_or(RawFd::MAX);
        let above = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, SOCKET.saturating_add(count));
        let sources: Result<Vec<OwnedFd>, _> = self.descriptors.iter().map(above).collect();
        let sources = sources.map_err(|e| StartError::Descriptors(e.into()))?;
        let held: Result<Vec<OwnedFd>, _> =
            self.descriptors.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, SOCKET)).collect();
        let held = held.map_err(|e| StartError::Descriptors(e.into()))?;
        let mut command = Command::new(OWN_BINARY);
        command.args(self.arguments).env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(self.stderr.map_or_else(Stdio::inherit, Stdio::from));
        let lacking = match user(self.index) {
            Ok(user) => {
                // The standard library also drops all supplementary groups, since root gives itself another user here.
                command.uid(user).gid(user);
                Vec::new()
            }
            Err(lacking) => vec![lacking, Lacking::Threads],
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: `prepare` makes plain system calls on
        // numbers, and neither allocates nor locks. The closure keeps the sources open as long as the command lives.
        unsafe {
            command.pre_exec(move || {
                let _ = &held;
                prepare(&sources)
            })
        };
        Ok((command, lacking))
    }
}

/// Runs in the child, before exec.
fn prepare(sources: &[OwnedFd]) -> io::Result<()> {
    rustix::process::setsid()?;
    let mut next = SOCKET;
    for source in sources {
        // SAFETY: the child owns its copies of all descriptors, and nothing in it uses the one that is replaced. It is not
        // the pipe by which a failed exec is reported: see `command`. What `dup2` makes is not closed by exec.
        if unsafe { libc::dup2(source.as_raw_fd(), next) } < 0 {
            return Err(io::Error::last_os_error());
        }
        next += 1;
    }
    // Also what others opened without close-on-exec. Old kernels cannot: `confine` closes it there.
    let _best_effort = descriptors::close_range(next.unsigned_abs(), u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    Ok(())
}

/// The user (and group) of the sandbox with this index, for whom the agent prepares its directories; or why it cannot have one.
pub fn user(index: u32) -> Result<u32, Lacking> {
    let no = |why: &str| Lacking::OwnUser { why: why.to_owned() };
    if index >= USERS_MAX {
        return Err(no("there are no more users to give"));
    }
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    if !rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed)) {
        return Err(no("the agent is not root"));
    }
    let user = USERS_FIRST + index;
    let mapped = |path: &str| fs::read_to_string(path).is_ok_and(|map| is_mapped(&map, user));
    if !mapped("/proc/self/uid_map") || !mapped("/proc/self/gid_map") {
        return Err(no("the agent's user namespace does not map the users of sandboxes"));
    }
    // Inside of a user namespace that may not drop groups, spawning as another user would fail.
    if fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny") {
        return Err(no("the agent's user namespace may not drop groups"));
    }
    Ok(user)
}

/// Whether a map of `inside outside count` lines names a user.
fn is_mapped(map: &str, user: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or_default());
        let (first, count) = (numbers.next(), numbers.nth(1));
        first.zip(count).is_some_and(|(first, count)| (first..first + count).contains(&u64::from(user)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_user_maps() {
        assert!(is_mapped("         0          0 4294967295\n", USERS_FIRST));
        assert!(!is_mapped("0 100000 65536\n", USERS_FIRST));
        assert!(is_mapped(&format!("0 100000 65536\n{USERS_FIRST} 0 1\n"), USERS_FIRST));
        assert!(!is_mapped("nonsense\n", 0));
    }

    #[test]
    fn users_have_an_end() {
        assert!(matches!(user(USERS_MAX), Err(Lacking::OwnUser { .. })));
    }
}
