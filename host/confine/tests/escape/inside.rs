//! The inside of a sandbox process: it confines itself and reports, line by line, what each attempt came to.

use std::ffi::c_long;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use wherry_confine::{Directory, Plan, Report, SOCKET, confine};

use crate::scene::PASSED;

#[path = "attempts.rs"]
mod attempts;

const FILE_BYTES_MAX: u64 = 1 << 20;
const THREADS_MAX: u64 = 12;
/// More than any limit here.
const THREADS_TRIED: usize = 64;

/// What an attempt needs to know.
pub struct Inside {
    root: PathBuf,
    port: u16,
    /// Descriptors of the agent that were open to children, and of this process from before it was confined.
    leaked: RawFd,
    before: RawFd,
    passed: Vec<OwnedFd>,
}

/// Plays the sandbox: `MODE ROOT PORT LEAKED USER`.
pub fn run(arguments: &[String]) {
    let [mode, root, port, leaked, user] = arguments else { panic!("{arguments:?}") };
    let root = PathBuf::from(root);
    // A high number, which nothing opened later gets by itself.
    let before = rustix::io::fcntl_dupfd_cloexec(File::open("/dev/zero").unwrap(), 300).unwrap().into_raw_fd();
    let report = (mode == "confined" || mode == "abort").then(|| confine(&plan(&root, user.parse().ok())).unwrap());
    if mode == "abort" {
        std::process::abort();
    }
    // SAFETY: the agent passed this descriptor for us to own.
    let mut socket = unsafe { UnixStream::from_raw_fd(SOCKET) };
    if mode == "threads" {
        socket.read_exact(&mut [0]).unwrap();
        return writeln!(socket, "too many threads: {}", too_many_threads()).unwrap();
    }
    let passed = receive(&socket);
    socket.read_exact(&mut [0]).unwrap();
    let inside = Inside { root, port: port.parse().unwrap(), leaked: leaked.parse().unwrap(), before, passed };
    for (name, attempt) in attempts::ALL {
        writeln!(socket, "{name}: {}", outcome(attempt(&inside))).unwrap();
    }
    if let Some(report) = report {
        about_itself(&mut socket, &report);
    }
}

fn plan(root: &std::path::Path, user: Option<u32>) -> Plan {
    let directory = |name: &str, writable| Directory { path: root.join(name), writable };
    Plan {
        user,
        directories: vec![directory("readable", false), directory("writable", true)],
        descriptors: vec![SOCKET],
        open_files_max: 64,
        threads_max: user.map(|_| THREADS_MAX),
        file_bytes_max: FILE_BYTES_MAX,
        data_bytes_max: Some(1 << 30),
        cpu_seconds_max: None,
    }
}

fn receive(socket: &UnixStream) -> Vec<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [io::IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors.flatten().collect()
}

/// What holds of the process as a whole, once all was tried.
fn about_itself(socket: &mut UnixStream, report: &Report) {
    let process = rustix::process::getuid();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    let groups = field("Groups:").split_whitespace().count();
    let leader = attempts::leads_its_session();
    let directory = std::env::current_dir().unwrap();
    let gid = rustix::process::getgid();
    let line = format!("user {process} group {gid} groups {groups} directory {} leader {leader}", directory.display());
    writeln!(socket, "identity: {line}").unwrap();
    let none = ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"].iter().all(|set| field(set).trim_matches('0').is_empty());
    writeln!(socket, "capabilities: {}", if none { "none" } else { "some" }).unwrap();
    writeln!(socket, "environment: {}", if std::env::vars_os().count() == 0 { "empty" } else { "not empty" }).unwrap();
    let passing = attempts::calls_that_pass();
    writeln!(socket, "calls that pass: {}", if passing.is_empty() { "none" } else { &passing }).unwrap();
    let lacking: Vec<String> = report.lacking.iter().map(ToString::to_string).collect();
    writeln!(socket, "lacking: {}", lacking.join(" ")).unwrap();
    writeln!(socket, "too many threads: {}", too_many_threads()).unwrap();
}

/// Whether at some point no thread can be started any more. All that were started end.
fn too_many_threads() -> &'static str {
    let (ended, waits) = std::sync::mpsc::sync_channel::<()>(0);
    let waits = std::sync::Arc::new(std::sync::Mutex::new(waits));
    let start = || {
        let waits = waits.clone();
        std::thread::Builder::new().stack_size(1 << 16).spawn(move || drop(waits.lock().map(|waits| waits.recv())))
    };
    let started: Vec<_> = (0..THREADS_TRIED).map_while(|_| start().ok()).collect();
    drop(ended);
    let count = started.len();
    started.into_iter().for_each(|thread| thread.join().unwrap());
    if count < THREADS_TRIED { "refused" } else { "started" }
}

/// `ok`, or the name of the error.
fn outcome(result: io::Result<()>) -> String {
    let Err(error) = result else { return "ok".to_owned() };
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::EACCES, "EACCES"),
        (libc::EBADF, "EBADF"),
        (libc::EFBIG, "EFBIG"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::EXDEV, "EXDEV"),
    ];
    let name = names.iter().find(|(number, _)| error.raw_os_error() == Some(*number));
    name.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}

/// A system call as a hostile program makes it.
fn call(number: c_long, arguments: [c_long; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: callers pass numbers, null pointers, and pointers to memory that outlives the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn write_to(path: PathBuf, options: &mut OpenOptions) -> io::Result<()> {
    options.open(path)?.write_all(b"more")
}

fn link_to(target: PathBuf, link: PathBuf) -> io::Result<()> {
    symlink(target, &link)?;
    let read = fs::read(&link);
    fs::remove_file(&link)?;
    read.map(drop)
}
