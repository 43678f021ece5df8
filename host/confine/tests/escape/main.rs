//! What a compromised runtime would try, tried in real processes: this binary again, started and confined as sandboxes are.
//!
//! Each attempt is made three times: free (so that a refusal later means something), confined as the same user (only
//! Landlock and the filter refuse), and confined as a user of its own. No harness, since a process to confine has one thread.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test, though it has no harness")]

mod inside;
mod scene;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use scene::{Scene, Who};
use wherry_confine::{Cgroup, CgroupLimits, Lacking, USERS_FIRST, kernel_support};

/// An attempt's name, its result in a free process, and in a confined one.
const ATTEMPTS: &[(&str, &str, &str)] = &[
    ("read a file outside", "ok", "EACCES"),
    ("list a directory outside", "ok", "EACCES"),
    ("make a file outside", "ok", "EACCES"),
    ("truncate a file outside", "ok", "EACCES"),
    ("follow a symlink outside", "ok", "EACCES"),
    ("link a file of outside into the volume", "ok", "EXDEV"),
    ("read outside through /proc/self/root", "ok", "EACCES"),
    ("read the agent's command line", "ok", "EACCES"),
    ("read its own binary", "ok", "EACCES"),
    ("read in a read-only directory", "ok", "ok"),
    ("write in a read-only directory", "ok", "EACCES"),
    ("remove in a read-only directory", "ok", "EACCES"),
    ("write in a writable directory", "ok", "ok"),
    ("move between writable directories", "ok", "ok"),
    ("write more than a file may hold", "ok", "EFBIG"),
    ("make a device", "ok", "EPERM"),
    ("change a file's mode", "ok", "EPERM"),
    ("open a TCP socket", "ok", "EPERM"),
    ("open a UDP socket", "ok", "EPERM"),
    ("open a Unix socket", "ok", "EPERM"),
    ("open a netlink socket", "ok", "EPERM"),
    ("make a pair of datagram sockets", "ok", "EPERM"),
    ("connect a passed socket", "ok", "EPERM"),
    ("bind a passed socket", "ok", "EPERM"),
    ("accept from a passed socket", "EINVAL", "EPERM"),
    ("listen on a passed socket", "ok", "EPERM"),
    ("trace the agent", "ok", "EPERM"),
    ("read the agent's memory", "ok", "EPERM"),
    ("signal the agent", "ok", "EPERM"),
    ("signal a thread of the agent", "ok", "EPERM"),
    ("fork", "ok", "EPERM"),
    ("clone by arguments in memory", "EINVAL", "ENOSYS"),
    ("run a program", "ok", "EPERM"),
    ("replace itself", "ENOENT", "EPERM"),
    ("type into a terminal", "ENOTTY", "EPERM"),
    ("raise a limit", "ok", "EPERM"),
    ("use a descriptor from before", "ok", "EBADF"),
    ("use an inherited descriptor", "ok", "EBADF"),
    // What must work.
    ("start a thread", "ok", "ok"),
    ("map compiled code of a file", "ok", "ok"),
    ("make a memory file", "ok", "ok"),
    ("give memory back", "ok", "ok"),
    ("ask which pages were touched", "ok", "ok"),
    ("catch a signal to itself", "ok", "ok"),
    ("pass a descriptor", "ok", "ok"),
    ("open /dev/null", "ok", "ok"),
    ("open /dev/urandom", "ok", "ok"),
    ("wait for an event", "ok", "ok"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == scene::INSIDE) {
        return inside::run(&arguments[2..]);
    }
    if arguments.get(1).is_some_and(|first| first == scene::NOTHING) {
        return;
    }
    let lacking = kernel_support();
    for missing in &lacking {
        println!("this machine: {missing}");
    }
    if let Some(whole) = lacking.iter().find(|l| matches!(l, Lacking::Landlock | Lacking::SystemCalls)) {
        println!("SKIPPED, all of it: {whole}");
        return;
    }
    a_free_process_may_everything();
    a_confined_process_may_little();
    its_own_user_owns_nothing();
    an_abort_ends_as_one();
    a_cgroup_bounds_threads();
    println!("escape: all passed");
}

fn check(found: &BTreeMap<String, String>, expected: impl Iterator<Item = (&'static str, &'static str)>) {
    let differs = |(name, wanted): (&str, &str)| {
        let got = found.get(name).map_or("never tried", String::as_str);
        (got != wanted).then(|| format!("{name}: {got}, not {wanted}"))
    };
    let faults: Vec<String> = expected.filter_map(differs).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn a_free_process_may_everything() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED, needs root: the attempts by a free process");
        return;
    }
    let found = Scene::new().play("free", Who::Same);
    check(&found, ATTEMPTS.iter().map(|(name, free, _)| (*name, *free)));
}

fn a_confined_process_may_little() {
    let found = Scene::new().play("confined", Who::Same);
    check(&found, ATTEMPTS.iter().map(|(name, _, confined)| (*name, *confined)));
    check(&found, [("calls that pass", "none"), ("capabilities", "none"), ("environment", "empty")].into_iter());
}

fn its_own_user_owns_nothing() {
    if kernel_support().iter().any(|lacking| matches!(lacking, Lacking::OwnUser { .. })) {
        println!("SKIPPED, needs root: a user of its own");
        return;
    }
    let found = Scene::new().play("confined", Who::Own(7));
    check(&found, ATTEMPTS.iter().map(|(name, _, confined)| (*name, *confined)));
    let identity = format!("user {0} group {0} groups 0 directory / leader true", USERS_FIRST + 7);
    assert_eq!(found.get("identity"), Some(&identity));
    assert_eq!(found.get("lacking"), Some(&String::new()), "on a kernel that knows everything");
    check(&found, [("calls that pass", "none"), ("capabilities", "none"), ("too many threads", "refused")].into_iter());
}

fn an_abort_ends_as_one() {
    let mut sandbox = Scene::new().start("abort", Who::Same);
    assert_eq!(sandbox.child.wait().unwrap().signal(), Some(libc::SIGABRT));
}

/// Without memory, whose bound is written in the same way: the process that runs the tests may be in a bounded cgroup.
fn a_cgroup_bounds_threads() {
    let name = format!("wherry-test-{}", std::process::id());
    let limits = CgroupLimits { memory_bytes_max: None, threads_max: Some(8), cpu_millis_max: Some(500) };
    let (cgroup, lacking) = Cgroup::make(&name, &limits);
    let Some(cgroup) = cgroup.filter(|_| lacking.is_empty()) else {
        println!("SKIPPED, needs cgroups: {}", lacking.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        return;
    };
    let sandbox = Scene::new().start("threads", Who::Same);
    cgroup.add(sandbox.child.id()).unwrap();
    assert!(
        Cgroup::adopt(&name, sandbox.child.id()).is_some_and(|adopted| format!("{adopted:?}") == format!("{cgroup:?}"))
    );
    check(&sandbox.finish(), [("too many threads", "refused")].into_iter());
    cgroup.remove().unwrap();
}
