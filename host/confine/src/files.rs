//! Landlock: the directories of the plan, the few files that the runtime itself needs, no TCP, no signals to others.
//!
//! Landlock judges the opening, making and removal of files. It does not see `stat`, `readlink` or time stamps: what their
//! user may learn or touch by a path, a sandbox may. A user of its own is the answer to that.

use std::os::fd::{AsFd, IntoRawFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, Scope, make_bitflags,
};
use rustix::fs::{Mode, OFlags};

use crate::confine::{ConfineError, Directory};

/// The newest rights that are asked for; what the kernel does not know of them is left out.
const NEWEST: ABI = ABI::V10;

/// What the runtime itself opens. `null` is written, the other is read by libraries that find no `getrandom`.
const DEVICES: &[(&str, bool)] = &[("/dev/null", true), ("/dev/urandom", false)];

/// The rules that let a thread into `directories` alone, to be enforced once it is who it is to be: a directory may be out of
/// reach for that user. `None`: there is no Landlock.
pub fn rules(directories: &[Directory]) -> Result<Option<RulesetCreated>, ConfineError> {
    if abi() == 0 {
        return Ok(None);
    }
    let mut ruleset = everything_denied().map_err(landlock)?;
    for Directory { path, writable } in directories {
        let opened =
            open(path).map_err(|errno| ConfineError::Directory { path: path.clone(), source: errno.into() })?;
        ruleset = allow(ruleset, opened, rights(*writable))?;
    }
    // A machine may well lack one of these, and its sandboxes do without.
    for (path, writable) in DEVICES {
        if let Ok(opened) = open(Path::new(path)) {
            ruleset = allow(ruleset, opened, rights(*writable))?;
        }
    }
    // wasmtime asks /proc/self/pagemap which pages a guest touched. A rule binds an inode, and an unused inode of /proc is
    // made anew under memory pressure: the descriptor stays open, so that the rule stays true.
    let own = open(Path::new("/proc/self/")).map_err(|errno| ConfineError::Proc(errno.into()))?;
    ruleset = allow(ruleset, &own, rights(false))?;
    let _kept_for_good = own.into_raw_fd();
    Ok(Some(ruleset))
}

/// Confines the calling thread by these rules. Answers the kernel's version of Landlock; 0 is none.
pub fn enforce(rules: Option<RulesetCreated>) -> Result<u32, ConfineError> {
    let Some(rules) = rules else { return Ok(0) };
    rules.restrict_self().map_err(landlock)?;
    Ok(abi())
}

/// The kernel's version of Landlock; 0 is none.
pub fn abi() -> u32 {
    const VERSION: u32 = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag and no attributes the kernel reads no memory and only answers its version.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, VERSION) };
    u32::try_from(answer).unwrap_or_default()
}

fn everything_denied() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}

fn allow(
    ruleset: RulesetCreated,
    opened: impl AsFd,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    ruleset.add_rule(PathBeneath::new(opened, rights)).map_err(landlock)
}

fn open(path: &Path) -> rustix::io::Result<rustix::fd::OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Never to execute, nor to make devices, sockets and pipes: no guest can ask for those.
fn rights(writable: bool) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = make_bitflags!(AccessFs::{
        WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | MakeSym | Refer
    });
    if writable { read | write } else { read }
}

fn landlock(error: RulesetError) -> ConfineError {
    ConfineError::Landlock(Box::new(error))
}
