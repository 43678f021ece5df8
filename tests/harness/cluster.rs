//! One `wherry up` process and its data directory.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::time::Instant;
use wherry_client::{Client, Kubeconfig};

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

/// A running cluster. Killed, by its pid, when dropped.
pub struct Cluster {
    binary: PathBuf,
    verb: &'static str,
    arguments: Vec<String>,
    data: tempfile::TempDir,
    process: Child,
    errors: Arc<Mutex<String>>,
}

impl Cluster {
    /// Starts `wherry up` on free ports and waits until it is ready.
    pub fn start(binary: impl AsRef<Path>) -> anyhow::Result<Self> {
        Self::start_with(binary, &[])
    }

    /// The same, with further arguments.
    pub fn start_with(binary: impl AsRef<Path>, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_as("up", binary, arguments)
    }

    /// The same, of another verb: of a master that has no node yet.
    pub fn start_as(verb: &'static str, binary: impl AsRef<Path>, arguments: &[&str]) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        let (process, errors) = spawn(binary.as_ref(), verb, data.path(), &arguments)?;
        let mut cluster = Self { binary: binary.as_ref().to_owned(), verb, arguments, data, process, errors };
        cluster.await_ready()?;
        Ok(cluster)
    }

    /// A process of another role on the same data directory, ready; killed when dropped.
    pub fn beside(&self, verb: &str, arguments: &[&str]) -> anyhow::Result<Beside> {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        let (process, errors) = spawn(&self.binary, verb, self.data.path(), &arguments)?;
        let beside = Beside(process);
        let told = || errors.lock().map(|text| text.clone()).unwrap_or_default();
        until(&format!("wherry {verb} is ready"), || Ok(told().contains("ready").then_some(()))).with_context(told)?;
        Ok(beside)
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The API, as `https://HOST:PORT`.
    pub fn server(&self) -> anyhow::Result<String> {
        Kubeconfig::load(&self.kubeconfig())?.servers.into_iter().next().context("the kubeconfig names no server")
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.path().join("kubeconfig")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The ports that were picked.
    pub fn ports(&self) -> anyhow::Result<Ports> {
        let text = std::fs::read_to_string(self.data.path().join("ports.json")).context("ports.json")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// An administrator's client.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::from_kubeconfig(&Kubeconfig::load(&self.kubeconfig())?)?)
    }

    /// Runs the binary's own verbs against this cluster.
    pub fn wherry(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        Ok(self.command(arguments).output()?)
    }

    /// The binary's own verbs, as a command that the caller starts.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
    }

    /// Applies manifests that are given as text to a namespace, which is made where it is missing.
    pub fn apply(&self, namespace: &str, manifests: &str) -> anyhow::Result<()> {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile_in(self.data())?;
        let space = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{manifests}");
        std::fs::write(file.path(), if namespace == "default" { manifests } else { &space })?;
        let output = self.wherry(&["apply", "-n", namespace, "-f", &file.path().display().to_string()])?;
        if !output.status.success() {
            bail!("apply: {}\n{manifests}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Loads a guest example as `NAME:v1`.
    pub fn load_guest(&self, name: &str) -> anyhow::Result<()> {
        let (_, module) = wherry::GUESTS.iter().find(|(guest, _)| *guest == name).context("no such guest")?;
        let file = self.data.path().join(format!("{name}.wasm"));
        std::fs::write(&file, module)?;
        let output = self.wherry(&["image", "load", &file.display().to_string(), &format!("{name}:v1")])?;
        if !output.status.success() {
            bail!("image load {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end. The exit code.
    pub fn terminate(&mut self) -> anyhow::Result<Option<i32>> {
        signal(&self.process, libc::SIGTERM);
        let status = self.process.wait()?;
        Ok(status.code())
    }

    /// The exit code of a process that has ended by itself; the code of one that a signal ended is `None`.
    pub fn ended(&mut self) -> anyhow::Result<Option<Option<i32>>> {
        Ok(self.process.try_wait()?.map(|status| status.code()))
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        signal(&self.process, libc::SIGKILL);
        self.process.wait()?;
        Ok(())
    }

    /// SIGSTOP: the process does nothing, and knows nothing of it.
    pub fn pause(&self) {
        signal(&self.process, libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(&self.process, libc::SIGCONT);
    }

    /// Starts again on the same data directory.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        (self.process, self.errors) = spawn(&self.binary, self.verb, self.data.path(), &self.arguments)?;
        self.await_ready()
    }

    /// What the process has written to stderr.
    pub fn errors(&self) -> String {
        self.errors.lock().map(|text| text.clone()).unwrap_or_default()
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        let ready = until("the cluster is ready", || {
            if let Some(status) = self.process.try_wait()? {
                bail!("wherry up ended with {status}:\n{}", self.errors());
            }
            Ok(self.errors().contains("ready").then_some(()))
        });
        ready.with_context(|| self.errors())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(&self.process, libc::SIGKILL);
            drop(self.process.wait());
        }
        kill_sandboxes(self.data());
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
pub(crate) fn kill_sandboxes(data: &Path) {
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

/// A process beside the cluster's own.
pub struct Beside(Child);

impl Beside {
    /// SIGTERM, and waits for the end. The exit code.
    pub fn terminate(mut self) -> anyhow::Result<Option<i32>> {
        signal(&self.0, libc::SIGTERM);
        Ok(self.0.wait()?.code())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            drop((self.0.kill(), self.0.wait()));
        }
    }
}

/// Runs `wherry up` where it must not start: its exit code and what it wrote to stderr.
pub fn refused_start(binary: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    refused(binary, "up", data, arguments)
}

/// The same of another verb.
pub fn refused(binary: &Path, verb: &str, data: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
    let (mut process, errors) = spawn(binary, verb, data, &arguments)?;
    let ended = until("wherry refuses to start", || Ok(process.try_wait()?));
    if ended.is_err() {
        process.kill()?;
        process.wait()?;
    }
    // The text is complete once the collecting thread, the other owner, is gone.
    until("stderr ends", || Ok((Arc::strong_count(&errors) == 1).then_some(())))?;
    let text = errors.lock().map(|text| text.clone()).unwrap_or_default();
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

pub(crate) fn spawn(
    binary: &Path,
    verb: &str,
    data: &Path,
    arguments: &[String],
) -> anyhow::Result<(Child, Arc<Mutex<String>>)> {
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
