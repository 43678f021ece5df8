//! A `wherry` process and its data directory: started on free ports, signalled and ended by pid, started again.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::time::Instant;

/// How long a condition may take before a test gives up. Generous: it is reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Kubernetes' own patience with a node that is silent.
const PATIENT: [(&str, &str); 3] = [
    ("WHERRY_NODE_MONITOR_GRACE_PERIOD", "40s"),
    ("WHERRY_DEFAULT_UNREACHABLE_TOLERATION_SECONDS", "300"),
    ("WHERRY_DEFAULT_NOT_READY_TOLERATION_SECONDS", "300"),
];

/// What `ports.json` says.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ports {
    /// The API; 0 where there is no master.
    #[serde(default)]
    pub api: u16,
    /// The ingress, http.
    pub http: u16,
    /// The ingress, https.
    pub https: u16,
    /// The node's endpoints.
    pub kubelet: u16,
    /// The image registry; 0 where there is no master.
    #[serde(default)]
    pub registry: u16,
}

/// A data directory: the process's own, or one of another process.
pub(crate) enum Data {
    Own(tempfile::TempDir),
    Shared(PathBuf),
}

/// A running process. Killed, by its pid, when dropped.
pub struct Process {
    binary: PathBuf,
    verb: &'static str,
    arguments: Vec<String>,
    data: Data,
    child: Child,
    errors: Arc<Mutex<String>>,
}

impl Data {
    fn path(&self) -> &Path {
        match self {
            Self::Own(directory) => directory.path(),
            Self::Shared(path) => path,
        }
    }
}

impl Process {
    /// Starts a verb on a data directory, with further arguments, and waits until it is ready.
    pub(crate) fn start(binary: &Path, verb: &'static str, data: Data, arguments: &[&str]) -> anyhow::Result<Self> {
        let arguments = owned(arguments);
        let (child, errors) = spawn(binary, verb, data.path(), &arguments)?;
        let mut process = Self { binary: binary.to_owned(), verb, arguments, data, child, errors };
        process.await_ready()?;
        Ok(process)
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The ports that were picked.
    pub fn ports(&self) -> anyhow::Result<Ports> {
        let text = std::fs::read_to_string(self.data.path().join("ports.json")).context("ports.json")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the process has written to stderr.
    pub fn errors(&self) -> String {
        told(&self.errors)
    }

    /// SIGTERM, and waits for the end. The exit code.
    pub fn terminate(&mut self) -> anyhow::Result<Option<i32>> {
        signal(&self.child, libc::SIGTERM);
        Ok(self.child.wait()?.code())
    }

    /// The exit code of a process that has ended by itself; the code of one that a signal ended is `None`.
    pub fn ended(&mut self) -> anyhow::Result<Option<Option<i32>>> {
        Ok(self.child.try_wait()?.map(|status| status.code()))
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        signal(&self.child, libc::SIGKILL);
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: the process does nothing, and knows nothing of it.
    pub fn pause(&self) {
        signal(&self.child, libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(&self.child, libc::SIGCONT);
    }

    /// Starts again on the same data directory, and waits until it is ready.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        (self.child, self.errors) = spawn(&self.binary, self.verb, self.data.path(), &self.arguments)?;
        self.await_ready()
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        let verb = self.verb;
        let ready = until(&format!("wherry {verb} is ready"), || {
            if let Some(status) = self.child.try_wait()? {
                bail!("wherry {verb} ended with {status}");
            }
            Ok(self.errors().contains("ready").then_some(()))
        });
        ready.with_context(|| self.errors())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(&self.child, libc::SIGKILL);
            drop(self.child.wait());
        }
        if let Data::Own(directory) = &self.data {
            kill_sandboxes(directory.path());
        }
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(process: &Child, signal: i32) {
    let pid = i32::try_from(process.id()).unwrap_or(0);
    if pid > 0 {
        // SAFETY: kill(2) takes no pointers; the pid is that of our own child, which has not been waited for.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Sandboxes outlive the node's process, and would wait for the next one.
fn kill_sandboxes(data: &Path) {
    let notes = std::fs::read_dir(data.join("node/sandboxes")).into_iter().flatten().flatten();
    for note in notes.filter(|note| note.path().extension().is_some_and(|extension| extension == "pid")) {
        let text = std::fs::read_to_string(note.path()).unwrap_or_default();
        let pid = text.split_whitespace().next().and_then(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid > 0);
        let command = |pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if let Some(pid) = pid.filter(|pid| command(*pid).contains("\0sandbox\0")) {
            // SAFETY: kill(2) takes no pointers; the process is a sandbox of this directory's node.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// Runs `wherry up` where it must not start: its exit code and what it wrote to stderr.
pub fn refused_start(binary: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    refused(binary, "up", data, arguments)
}

/// The same of another verb.
pub fn refused(binary: &Path, verb: &str, data: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let (mut child, errors) = spawn(binary, verb, data, &owned(arguments))?;
    let ended = until("wherry refuses to start", || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    // The text is complete once the collecting thread, the other owner, is gone.
    until("stderr ends", || Ok((Arc::strong_count(&errors) == 1).then_some(())))?;
    let text = told(&errors);
    Ok((ended.with_context(|| text.clone())?.code(), text))
}

/// Asks until there is an answer, or the patience is over.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        thread::sleep(POLL);
    }
    bail!("gave up waiting until {what}")
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

fn told(errors: &Mutex<String>) -> String {
    errors.lock().map(|text| text.clone()).unwrap_or_default()
}

fn spawn(binary: &Path, verb: &str, data: &Path, arguments: &[String]) -> anyhow::Result<(Child, Arc<Mutex<String>>)> {
    let mut command = Command::new(binary);
    command.arg(verb).arg("--data-dir").arg(data);
    for port in ["api", "http", "https", "kubelet", "registry"] {
        let flag = format!("--{port}-port");
        if !arguments.contains(&flag) {
            command.args([flag.as_str(), "0"]);
        }
    }
    // A debug build on a busy machine is slow to start again; what is about a node's failure says how patient it is.
    // No test but those that start one has an engine: the machine's own is somebody else's.
    command.env("WHERRY_DOCKER", "off");
    command.envs(PATIENT).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
    let errors = Arc::new(Mutex::new(String::new()));
    if let Some(stderr) = process.stderr.take() {
        collect(stderr, errors.clone());
    }
    Ok((process, errors))
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Ok(mut text) = into.lock() {
                text.push_str(&line);
                text.push('\n');
            }
        }
    });
}
