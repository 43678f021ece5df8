//! The inside of the sandbox: it confines itself as `wherry sandbox` does, and reports what each attempt came to.

use std::ffi::c_long;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::SocketFlags;
use wherry_sandbox::{Granted, SOCKET, confine_compiler, confine_to};

/// More than a sandbox may have.
const THREADS_TRIED: usize = 2048;
/// More memory than compiling may take.
const HOARD_BYTES: usize = 3 << 30;
/// More than a file may hold, and than the disk has.
const HUGE_BYTES: u64 = 1 << 50;

/// What an attempt needs to know.
struct Inside {
    root: PathBuf,
    port: u16,
}

type Attempt = fn(&Inside) -> io::Result<()>;

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("open the cluster's state", |i| fs::read(i.root.join("store/state.redb")).map(drop)),
    ("write the cluster's state", |i| append(i.root.join("store/state.redb"))),
    ("read another namespace's volume", |i| fs::read(i.secret()).map(drop)),
    ("reach it from its own directory", |i| fs::read(i.own("../other/b/volumes/v/secret")).map(drop)),
    ("reach it by a link", by_link),
    ("list the namespaces", |i| fs::read_dir(i.root.join("node/pods")).map(drop)),
    ("read the node's key", |i| fs::read(i.root.join("wasm/key")).map(drop)),
    ("change compiled code", |i| append(i.root.join("wasm/compiled/code.cwasm"))),
    ("connect to the API's port", |i| TcpStream::connect(("127.0.0.1", i.port)).map(drop)),
    ("connect to another sandbox", |i| UnixStream::connect(i.root.join("node/neighbour.sock")).map(drop)),
    ("trace the agent", |_| call(libc::SYS_ptrace, [c_long::from(libc::PTRACE_SEIZE), agent(), 0, 0, 0, 0])),
    ("read the agent's memory", |_| call(libc::SYS_process_vm_readv, [agent(), 0, 0, 0, 0, 0])),
    ("open the agent's memory", |_| File::open(format!("/proc/{}/mem", agent())).map(drop)),
    ("signal the agent", |_| call(libc::SYS_kill, [agent(), 0, 0, 0, 0, 0])),
    ("fork", |_| call(libc::SYS_clone, [c_long::from(libc::SIGCHLD), 0, 0, 0, 0, 0])),
    ("run a program", |_| std::process::Command::new("/proc/self/exe").status().map(drop)),
    ("start threads without end", |_| threads_without_end()),
    ("fill the disk with one file", |i| File::create(i.own("a/volumes/v/huge"))?.set_len(HUGE_BYTES)),
    ("fill the disk elsewhere", |i| fs::write(i.root.join("node/filler"), "x")),
    ("fill memory files' disk", |_| fs::write("/dev/shm/wherry-filler", "x")),
    ("write in its own volume", |i| append(i.own("a/volumes/v/file"))),
    ("read compiled code", |i| fs::read(i.root.join("wasm/compiled/code.cwasm")).map(drop)),
];

/// Plays the sandbox, given the arguments that follow its name.
pub fn run(arguments: &[String]) {
    confine_to(&granted(arguments)).unwrap();
    // SAFETY: the launcher put the listener there for this process to own.
    let listener = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    let socket = rustix::net::accept_with(&listener, SocketFlags::CLOEXEC).unwrap();
    let mut facts = [0; 4096];
    let length = rustix::io::read(&socket, &mut facts).unwrap();
    let facts = String::from_utf8(facts[..length].to_vec()).unwrap();
    let (root, port) = facts.split_once('\n').unwrap();
    let inside = Inside { root: root.into(), port: port.parse().unwrap() };
    for (name, attempt) in ATTEMPTS {
        let report = format!("{name}: {}", outcome(attempt(&inside)));
        rustix::io::write(&socket, report.as_bytes()).unwrap();
    }
}

fn granted(arguments: &[String]) -> Granted {
    let mut granted = Granted::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--readable" => granted.readable.extend(rest.next().map(PathBuf::from)),
            "--writable" => granted.writable.extend(rest.next().map(PathBuf::from)),
            user => granted.user = Some(user.strip_prefix("--user=").unwrap().parse().unwrap()),
        }
    }
    granted
}

/// Plays a compiler that its module got the better of, given the arguments that follow its verb.
pub fn compile(arguments: &[String]) {
    confine_compiler(granted(arguments).user).unwrap();
    let mut module = String::new();
    io::stdin().read_to_string(&mut module).unwrap();
    match module.as_str() {
        "hoard" => std::hint::black_box(vec![1_u8; HOARD_BYTES]).truncate(0),
        "flood" => std::iter::repeat(&[0; 1 << 20]).try_for_each(|zeros| io::stdout().write_all(zeros)).unwrap(),
        facts => {
            let (root, port) = facts.split_once('\n').unwrap();
            let inside = Inside { root: root.into(), port: port.parse().unwrap() };
            ATTEMPTS.iter().for_each(|(name, attempt)| println!("{name}: {}", outcome(attempt(&inside))));
        }
    }
}

impl Inside {
    /// In the sandbox's own directory.
    fn own(&self, path: &str) -> PathBuf {
        self.root.join("node/pods/default").join(path)
    }

    fn secret(&self) -> PathBuf {
        self.root.join("node/pods/other/b/volumes/v/secret")
    }
}

fn agent() -> c_long {
    rustix::process::getppid().map_or(0, |pid| c_long::from(pid.as_raw_nonzero().get()))
}

fn append(path: PathBuf) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(b"more")
}

fn by_link(inside: &Inside) -> io::Result<()> {
    let link = inside.own("a/volumes/v/link");
    symlink(inside.secret(), &link)?;
    fs::read(link).map(drop)
}

fn threads_without_end() -> io::Result<()> {
    let (ended, waits) = std::sync::mpsc::sync_channel::<()>(0);
    let waits = std::sync::Arc::new(std::sync::Mutex::new(waits));
    let mut started = Vec::new();
    let mut result = Ok(());
    for _ in 0..THREADS_TRIED {
        let waits = waits.clone();
        let thread = std::thread::Builder::new().stack_size(1 << 16);
        match thread.spawn(move || drop(waits.lock().map(|waits| waits.recv()))) {
            Ok(thread) => started.push(thread),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    drop(ended);
    started.into_iter().for_each(|thread| thread.join().unwrap());
    result
}

/// `ok`, or the name of the error.
fn outcome(result: io::Result<()>) -> String {
    let Err(error) = result else { return "ok".to_owned() };
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::EACCES, "EACCES"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EFBIG, "EFBIG"),
        (libc::ENOENT, "ENOENT"),
    ];
    let name = names.iter().find(|(number, _)| error.raw_os_error() == Some(*number));
    name.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}

/// A system call as a hostile program makes it.
fn call(number: c_long, arguments: [c_long; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: callers pass numbers and null pointers. A child, should there be one, is this process again, and ends with it.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
