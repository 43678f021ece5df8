//! What a compromised runtime would try, tried in a process that is started and confined by the very code that does so for
//! `wherry sandbox`: this binary again, launched by `Processes`, confined by `confine_to`.
//!
//! All that it tries to reach is open to everyone by its mode, so that each refusal is the confinement's. What each layer
//! refuses by itself is shown by the escape test of `host/confine`. No harness, since a process to confine has one thread.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test, though it has no harness")]

mod inside;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use wherry_confine::{Lacking, kernel_support};
use wherry_runtime::Codegen;
use wherry_sandbox::{COMPILE_VERB, Directory, Launch, Launcher, Processes, VERB};

/// An attempt's name, and what comes of it.
const ATTEMPTS: &[(&str, &str)] = &[
    ("open the cluster's state", "EACCES"),
    ("write the cluster's state", "EACCES"),
    ("read another namespace's volume", "EACCES"),
    ("reach it from its own directory", "EACCES"),
    ("reach it by a link", "EACCES"),
    ("list the namespaces", "EACCES"),
    ("read the node's key", "EACCES"),
    ("change compiled code", "EACCES"),
    ("connect to the API's port", "EPERM"),
    ("connect to another sandbox", "EPERM"),
    ("trace the agent", "EPERM"),
    ("read the agent's memory", "EPERM"),
    ("open the agent's memory", "EACCES"),
    ("signal the agent", "EPERM"),
    ("fork", "EPERM"),
    ("run a program", "EPERM"),
    ("start threads without end", "EAGAIN"),
    ("fill the disk with one file", "EFBIG"),
    ("fill the disk elsewhere", "EACCES"),
    ("fill memory files' disk", "EACCES"),
    // What must work.
    ("write in its own volume", "ok"),
    ("read compiled code", "ok"),
];

/// What of it a compiler must not do either, which has no directory at all.
const COMPILERS: &[(&str, &str)] = &[
    ("open the cluster's state", "EACCES"),
    ("write the cluster's state", "EACCES"),
    ("read another namespace's volume", "EACCES"),
    ("list the namespaces", "EACCES"),
    ("read the node's key", "EACCES"),
    ("read compiled code", "EACCES"),
    ("change compiled code", "EACCES"),
    ("connect to the API's port", "EPERM"),
    ("connect to another sandbox", "EPERM"),
    ("trace the agent", "EPERM"),
    ("read the agent's memory", "EPERM"),
    ("open the agent's memory", "EACCES"),
    ("signal the agent", "EPERM"),
    ("fork", "EPERM"),
    ("run a program", "EPERM"),
    ("fill the disk elsewhere", "EACCES"),
    ("fill memory files' disk", "EACCES"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == VERB) {
        return inside::run(&arguments[3..]);
    }
    if arguments.get(1).is_some_and(|first| first == COMPILE_VERB) {
        return inside::compile(&arguments[2..]);
    }
    let lacking = kernel_support();
    for missing in &lacking {
        println!("this machine: {missing}");
    }
    if let Some(whole) = lacking.iter().find(|l| matches!(l, Lacking::Landlock | Lacking::SystemCalls)) {
        println!("SKIPPED, all of it: {whole}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (found, how) = runtime.block_on(play());
    assert_eq!(how, "its process ended with exit code 0", "{found:#?}");
    // Where neither a user of its own nor a cgroup bounds them.
    let unbounded = |l: &Lacking| matches!(l, Lacking::Cgroup { controller: "pids", .. });
    let threads = lacking.contains(&Lacking::Threads) && lacking.iter().any(unbounded);
    if threads {
        println!("SKIPPED: start threads without end");
    }
    for (name, wanted) in ATTEMPTS.iter().filter(|(name, _)| !(threads && name.contains("threads"))) {
        assert_eq!(found.get(*name).map(String::as_str), Some(*wanted), "{name}, of {found:#?}");
    }
    println!("escape from a sandbox: {} attempts, all as they must be", ATTEMPTS.len());
    println!("escape from a compiler: {} attempts, all as they must be", COMPILERS.len());
}

/// What a module can make of the compiler: an answer, and an end when it takes too much.
async fn compilers(launcher: &Processes, facts: String) {
    let answer = String::from_utf8(launcher.generate(facts.into(), true).await.unwrap()).unwrap();
    let found: BTreeMap<_, _> = answer.lines().filter_map(|line| line.split_once(": ")).collect();
    for (name, wanted) in COMPILERS {
        assert_eq!(found.get(name), Some(wanted), "{name}, of {found:#?}");
    }
    let told = |module: &'static str| launcher.generate(module.into(), true);
    let (hoard, flood) = (told("hoard").await.unwrap_err(), told("flood").await.unwrap_err());
    assert!(hoard.contains("ended by signal 6; it may take 2048 MiB of memory"), "{hoard}");
    assert!(flood.contains("File too large"), "{flood}");
}

/// Launches the sandbox, tells it where things are, and hears what came of its attempts and how it ended.
async fn play() -> (BTreeMap<String, String>, String) {
    let data = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let root = data.path();
    let own = root.join("node/pods/default");
    for file in [
        "store/state.redb",
        "wasm/key",
        "wasm/compiled/code.cwasm",
        "node/pods/default/a/volumes/v/file",
        "node/pods/other/b/volumes/v/secret",
    ] {
        lay_open(root, file);
    }
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let _neighbour = listen(&root.join("node/neighbour.sock")).unwrap();
    let place = root.join("node/sandbox.sock");
    let directories = [
        Directory { path: own, writable: true, own: true },
        Directory { path: root.join("wasm/compiled"), writable: false, own: false },
    ];
    let launcher = Processes::new(root.to_owned());
    let facts = format!("{}\n{}", root.display(), api.local_addr().unwrap().port());
    compilers(&launcher, facts.clone()).await;
    let launch = Launch { name: "namespace-default", listener: listen(&place).unwrap(), directories: &directories };
    let process = launcher.launch(launch).unwrap();
    let socket = connect(&place).unwrap();
    rustix::io::write(&socket, facts.as_bytes()).unwrap();
    let found = tokio::task::spawn_blocking(move || reports(&socket)).await.unwrap();
    (found, process.ended().await)
}

/// A file that everyone may reach and write.
fn lay_open(root: &Path, file: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "text").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    for directory in path.ancestors().skip(1).take_while(|directory| *directory != root) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    }
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 1)?;
    Ok(socket)
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn reports(socket: &OwnedFd) -> BTreeMap<String, String> {
    let mut buffer = [0; 4096];
    let mut next = || match rustix::io::read(socket, &mut buffer) {
        Ok(length) if length > 0 => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        _ => None,
    };
    let lines = std::iter::from_fn(&mut next);
    lines.filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned()))).collect()
}
