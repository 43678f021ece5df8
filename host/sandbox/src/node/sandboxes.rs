//! All sandboxes of a node: started when they are needed, ended when they are idle, held back when they crash.
//!
//! Each has a socket and a note of its process in the node's directory, by which a later process of the node finds and
//! adopts it. They end with a node that is stopped, and outlive one that dies.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::runtime::Handle;
use tokio::time::Instant;
use wherry_base::{Backoff, Drain};
use wherry_runtime::StartError;
use wherry_vnet::NetworkConfig;

use super::launch::{Directory, Launch, Launcher};
use super::link::{Link, Terms};
use crate::message::Ranges;
use crate::wire::Wire;

/// How often idle sandboxes are looked for; one that was idle twice ends.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// A sandbox that crashes again within this time waits before its next start: so long at first, and at most.
const CRASH_WINDOW: Duration = Duration::from_secs(60);
const CRASH_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a start may wait for a sandbox that is held back; beyond that it fails, and says so.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a sandbox of an earlier process may take to say what it has.
const INTRODUCTION_MOST: Duration = Duration::from_secs(5);

/// How many connections wait for a sandbox: the node's only.
const BACKLOG: i32 = 4;

/// What sandboxes are made of.
pub struct SandboxConfig {
    /// Where their sockets are; for the node alone.
    pub directory: PathBuf,
    /// The node's address ranges.
    pub network: NetworkConfig,
    /// The threads that requests to pods come from, which carry them to the sandboxes.
    pub requests: Handle,
    /// Starts their processes.
    pub launcher: Arc<dyn Launcher>,
    /// What code is compiled for.
    pub engine: String,
}

/// The sandboxes of a node.
pub struct Sandboxes {
    pub(crate) launcher: Arc<dyn Launcher>,
    directory: PathBuf,
    terms: Terms,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
    /// Those that an earlier process has started, until all that is to be taken over has been.
    adopted: Mutex<HashMap<String, Arc<Link>>>,
    drain: Drain,
}

struct Slot {
    link: Option<Arc<Link>>,
    started: Instant,
    crashes: Crashes,
    not_before: Instant,
    was_idle: bool,
}

/// How often a sandbox has crashed of late.
struct Crashes {
    lately: bool,
    backoff: Backoff,
}

impl Sandboxes {
    /// Those of an earlier process, which are found, and no others yet. `drain` owns the connections to them, and ends them.
    pub async fn open(config: SandboxConfig, drain: &Drain) -> io::Result<Arc<Self>> {
        let SandboxConfig { directory, network, requests, launcher, engine } = config;
        fs::create_dir_all(&directory)?;
        let ranges = Ranges {
            pods: network.pod_cidr,
            cluster: network.cluster_cidr,
            services: network.service_cidr,
            node: network.node_ip,
        };
        let terms = Terms { ranges, requests, engine };
        let (slots, adopted) = (Mutex::default(), Mutex::default());
        let sandboxes = Arc::new(Self { launcher, directory, terms, slots, adopted, drain: drain.clone() });
        let names = notes(&sandboxes.directory);
        futures::future::join_all(names.iter().map(|name| sandboxes.adopt(name))).await;
        drain.vital().spawn(Arc::clone(&sandboxes).end_idle());
        drain.vital().spawn_graceful(Arc::clone(&sandboxes).end_with_the_node());
        Ok(sandboxes)
    }

    /// A sandbox of an earlier process, while there is something in it to be taken over.
    pub(crate) fn adopted(&self, name: &str) -> Option<Arc<Link>> {
        locked(&self.adopted).get(name).cloned()
    }

    /// Ends what was not taken over.
    pub(crate) fn end_survivors(&self) {
        let adopted = std::mem::take(&mut *locked(&self.adopted));
        adopted.values().for_each(Link::end_survivors);
    }

    /// The sandbox of that name, started with these directories where there is none.
    pub(crate) async fn get(&self, name: &str, directories: &[Directory]) -> Result<Arc<Link>, StartError> {
        let slot = self.slot(name);
        let mut slot = slot.lock().await;
        if let Some(link) = slot.link.clone().filter(|link| !link.is_gone()) {
            slot.was_idle = false;
            return Ok(link);
        }
        if slot.link.take().is_some() {
            let now = Instant::now();
            let lived = now.duration_since(slot.started);
            slot.not_before = now + slot.crashes.wait_after(lived);
        }
        let wait = slot.not_before.saturating_duration_since(Instant::now());
        if wait > PATIENCE {
            return Err(failed(format!("the sandbox {name} crashes again and again; its next start is in {wait:.0?}")));
        }
        tokio::time::sleep(wait).await;
        let link = self
            .start(name, directories)
            .map_err(|error| failed(format!("the sandbox {name} cannot be started: {error}")))?;
        (slot.link, slot.started, slot.was_idle) = (Some(Arc::clone(&link)), Instant::now(), false);
        Ok(link)
    }

    fn slot(&self, name: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = locked(&self.slots);
        let slot = || Arc::new(tokio::sync::Mutex::new(Slot::new(Instant::now())));
        Arc::clone(slots.entry(name.to_owned()).or_insert_with(slot))
    }

    fn start(&self, name: &str, directories: &[Directory]) -> io::Result<Arc<Link>> {
        let path = self.directory.join(format!("{name}.sock"));
        let listener = listen(&path)?;
        let process = self.launcher.launch(Launch { name, listener, directories })?;
        fs::write(self.directory.join(format!("{name}.pid")), format!("{} {}", process.id(), birth(process.id())))?;
        Ok(Link::open(name, process, Wire::new(connect(&path)?)?, &self.terms, &self.drain))
    }

    /// Adopts a sandbox of an earlier process, if it is there still and speaks this protocol.
    async fn adopt(&self, name: &str) {
        let path = self.directory.join(format!("{name}.sock"));
        let process = left_over(&path.with_extension("pid")).and_then(|id| self.launcher.find(name, id));
        let Some(process) = process else { return forget(&path) };
        let wire = match connect(&path).and_then(Wire::new) {
            Ok(wire) => wire,
            Err(error) => {
                tracing::warn!(sandbox = name, %error, "a sandbox of an earlier process cannot be reached, and ends");
                process.kill();
                return forget(&path);
            }
        };
        let link = Link::open(name, process, wire, &self.terms, &self.drain);
        let _late = tokio::time::timeout(INTRODUCTION_MOST, link.introduced()).await;
        if link.is_introduced() && !link.is_gone() {
            self.slot(name).lock().await.link = Some(Arc::clone(&link));
            locked(&self.adopted).insert(name.to_owned(), link);
        } else {
            link.end("it does not say what it has");
            forget(&path);
        }
    }

    /// A node that is stopped has stopped its pods before.
    async fn end_with_the_node(self: Arc<Self>) {
        self.drain.ended().await;
        let slots = locked(&self.slots).clone();
        for (name, slot) in slots {
            slot.lock().await.link.take().iter().for_each(|link| link.retire());
            forget(&self.directory.join(format!("{name}.sock")));
        }
    }

    async fn end_idle(self: Arc<Self>) {
        loop {
            tokio::time::sleep(IDLE_INTERVAL).await;
            let slots = locked(&self.slots).clone();
            for (name, slot) in slots {
                let mut slot = slot.lock().await;
                let idle = slot.link.as_ref().is_some_and(|link| !link.is_gone() && link.is_idle());
                if idle && slot.was_idle {
                    slot.link.take().iter().for_each(|link| link.retire());
                    forget(&self.directory.join(format!("{name}.sock")));
                }
                slot.was_idle = idle;
            }
            let now = Instant::now();
            let is_free = |slot: &Arc<tokio::sync::Mutex<Slot>>| Arc::strong_count(slot) == 1;
            locked(&self.slots)
                .retain(|_, slot| !(is_free(slot) && slot.try_lock().is_ok_and(|slot| slot.is_over(now))));
        }
    }
}

impl Slot {
    const fn new(now: Instant) -> Self {
        Self { link: None, started: now, crashes: Crashes::new(), not_before: now, was_idle: false }
    }

    /// Whether nothing of it need be remembered: there is no sandbox, and a crash would no longer count.
    fn is_over(&self, now: Instant) -> bool {
        let lives = self.link.as_ref().is_some_and(|link| !link.is_gone());
        !lives && now.duration_since(self.started.max(self.not_before)) > CRASH_WINDOW
    }
}

impl Crashes {
    const fn new() -> Self {
        Self { lately: false, backoff: Backoff::new(CRASH_DELAY.0, CRASH_DELAY.1) }
    }

    /// How long the next start must wait, after a sandbox that lived so long has crashed: after the first crash, not at all.
    fn wait_after(&mut self, lived: Duration) -> Duration {
        if lived > CRASH_WINDOW {
            *self = Self::new();
        }
        if std::mem::replace(&mut self.lately, true) { self.backoff.fail() } else { Duration::ZERO }
    }
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    let _absent = fs::remove_file(path);
    // What the sandbox accepts must not block it.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The sandboxes that have a note.
fn notes(directory: &Path) -> Vec<String> {
    let paths = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let notes = paths.filter(|path| path.extension().is_some_and(|extension| extension == "pid"));
    notes.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

/// The process that a note tells of, if it is there still.
fn left_over(note: &Path) -> Option<u32> {
    let note = fs::read_to_string(note).ok()?;
    let (pid, born) = note.split_once(' ')?;
    let (pid, born) = (pid.parse().ok()?, born.trim().parse::<u64>().ok()?);
    (birth(pid) == born).then_some(pid)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget(socket: &Path) {
    let _absent = (fs::remove_file(socket), fs::remove_file(socket.with_extension("pid")));
}

/// When a process began, in ticks since the machine's start: tells it from another of the same number. 0: there is none.
fn birth(pid: u32) -> u64 {
    const FIELDS_AFTER_NAME: usize = 19;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(FIELDS_AFTER_NAME).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn failed(message: String) -> StartError {
    StartError { reason: "CreatePodSandboxError", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_that_crashes_again_and_again_waits_longer_each_time() {
        let mut crashes = Crashes::new();
        let waits = [1, 1, 1, 1, 59, 61, 1].map(|lived| crashes.wait_after(Duration::from_secs(lived)).as_secs());
        assert_eq!(waits, [0, 1, 2, 4, 8, 0, 1]);
    }

    #[test]
    fn a_slot_is_kept_as_long_as_a_crash_would_count() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let held_back = Slot { not_before: after(30), ..Slot::new(began) };
        for (slot, seconds, over) in [
            (&Slot::new(began), 60, false),
            (&Slot::new(began), 61, true),
            (&held_back, 61, false),
            (&held_back, 91, true),
        ] {
            assert_eq!(slot.is_over(after(seconds)), over, "{seconds}");
        }
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        assert_ne!(birth(std::process::id()), 0);
        assert_eq!(birth(u32::MAX), 0);
    }
}
