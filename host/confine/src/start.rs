//! How the agent starts a sandbox process: this very binary again, with one socket and nothing else.
//!
//! It is spawned without a fork: a copy of the agent's memory map, with the tens of thousands of maps that a pool of wasm
//! instances has, would cost more than all else of the start. So what only the child can do it does itself, in `confine`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{OwnedFd, RawFd};
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;

use crate::lacking::Lacking;

/// The first of the users of sandboxes. What systemd's and shadow's tables give away ends below it: host users at 60,000,
/// subordinate users at 600,100,000, systemd's containers at 0x6fff_ffff; from 0x7ffe_0000 on systemd has its own again.
pub const USERS_FIRST: u32 = 0x7000_0000;

/// How many users there are from [`USERS_FIRST`] on.
pub const USERS_MAX: u32 = 0x0ffe_0000;

/// The descriptor of a sandbox's socket to the agent, in place of a standard input: the only one that it inherits beside 1
/// and 2.
pub const SOCKET: RawFd = 0;

/// The running binary, also where its path holds a newer one by now.
const OWN_BINARY: &str = "/proc/self/exe";

/// How a sandbox process is started.
#[derive(Debug)]
pub struct Start {
    /// The arguments after the program's name.
    pub arguments: Vec<OsString>,
    /// What the sandbox finds as descriptor [`SOCKET`].
    pub socket: OwnedFd,
    /// Where its standard error goes; without one, to the agent's.
    pub stderr: Option<File>,
}

impl Start {
    /// The command to spawn. It owns the socket: drop it after spawning, or the agent's end never sees the sandbox's end.
    ///
    /// The process has an empty environment, `/` as its directory, no output but standard error. It is the agent's user,
    /// and may do what the agent may, until it confines itself: first thing in its `main`.
    pub fn command(self) -> Command {
        let mut command = Command::new(OWN_BINARY);
        command.args(self.arguments).env_clear().current_dir("/").stdin(self.socket).stdout(Stdio::null());
        command.stderr(self.stderr.map_or_else(Stdio::inherit, Stdio::from));
        command
    }
}

/// The user (and group) of the sandbox with this index, for whom the agent prepares its directories, and which the sandbox
/// becomes; or why it cannot have one.
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
    // Inside of a user namespace that may not drop groups, becoming another user would fail.
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
