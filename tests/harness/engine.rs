//! A container engine of a test's own: Debian's dockerd, or Podman's service, in a network and mount namespace of its own, so
//! that the machine's network is left as it is. Its images are made here, of static programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, bail};

use crate::kubectl::Printed;
use crate::process::{signal, until};
use crate::skipped::skipped;

/// Limits that any machine allows, whatever Podman's own are.
const PODMAN_LIMITS: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
/// The command line is another on machines that have a newer one of their own: any speaks to this engine.
const DOCKER: &str = "docker";
const BUSYBOX: &str = "/bin/busybox";
/// What holds the namespaces: with a localhost, for a registry there.
const HOLD: &str = "/bin/busybox ifconfig lo up && exec /bin/busybox cat";
const PROGRAMS: [&str; 18] = [
    "sh", "httpd", "cat", "echo", "sleep", "ls", "wget", "nslookup", "id", "env", "hostname", "head", "tail", "dd",
    "nc", "tar", "touch", "rm",
];
/// The images: `web` serves `/www` at port 8080, `tools` does nothing by itself.
const IMAGES: [(&str, &[&str]); 2] = [
    ("web:1", &[r#"ENTRYPOINT ["/bin/httpd"]"#, r#"CMD ["-f","-p","8080","-h","/www"]"#]),
    ("tools:1", &[r#"CMD ["/bin/sh"]"#]),
];

/// Without a bridge and without rules: pods bring networks of their own.
const APART: [&str; 5] = ["--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"];
const LASTING: [&str; 6] = ["--live-restore", APART[0], APART[1], APART[2], APART[3], APART[4]];

/// Whose engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With these flags.
    Docker(&'static [&'static str]),
    Podman,
}

impl Kind {
    const fn program(self) -> &'static str {
        match self {
            Self::Docker(_) => "dockerd",
            Self::Podman => "podman",
        }
    }
}

/// A running engine. Ended, with all of its containers, when dropped.
pub struct Engine {
    kind: Kind,
    directory: tempfile::TempDir,
    process: Child,
    /// Holds the namespaces, which an engine that was killed leaves to the next; ends with its stdin.
    holder: Child,
}

impl Engine {
    /// Starts an engine that has the images; `None` where none can run, which is said loudly, with why.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_of(Kind::Docker(&APART), test)
    }

    /// The same with Docker's own bridge, and its rules, in the engine's namespace.
    pub fn start_bridged(test: &str) -> Option<Self> {
        Self::start_of(Kind::Docker(&[]), test)
    }

    /// The same whose containers outlive it when it is killed.
    pub fn start_lasting(test: &str) -> Option<Self> {
        Self::start_of(Kind::Docker(&LASTING), test)
    }

    /// The same of Podman.
    pub fn start_podman(test: &str) -> Option<Self> {
        Self::start_of(Kind::Podman, test)
    }

    fn start_of(kind: Kind, test: &str) -> Option<Self> {
        if let Some(why) = lacking(kind) {
            let hint = "`apt-get install docker.io podman busybox-static`, and run as root";
            skipped(test, format_args!("{why}; {hint}"));
            return None;
        }
        match Self::try_start(kind) {
            Ok(engine) => Some(engine),
            Err(error) => {
                skipped(test, format_args!("the engine does not start here: {error:#}"));
                None
            }
        }
    }

    fn try_start(kind: Kind) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("containers.conf"), PODMAN_LIMITS)?;
        let holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", BUSYBOX, "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        until("the namespaces are there", || Ok(is_apart(holder.id())?.then_some(())))?;
        let process = spawn(kind, directory.path(), holder.id())?;
        let mut engine = Self { kind, directory, process, holder };
        engine.await_answer()?;
        let archive = engine.layer()?.display().to_string();
        for (name, changes) in IMAGES {
            let changes = changes.iter().flat_map(|change| ["--change", change]);
            let words: Vec<&str> = ["import"].into_iter().chain(changes).chain([archive.as_str(), name]).collect();
            engine.docker(&words)?;
        }
        Ok(engine)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    /// Its network namespace.
    pub fn network(&self) -> anyhow::Result<fs::File> {
        fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).context("the engine's network namespace")
    }

    /// Runs Docker's own command line against it; what it prints.
    pub fn docker(&self, words: &[&str]) -> anyhow::Result<String> {
        let printed: Printed = self.output(words)?.into();
        if !printed.ok {
            bail!("docker {}: {}", words.join(" "), printed.err);
        }
        Ok(printed.out.trim().to_owned())
    }

    /// Removes its containers. dockerd, where many end at once, may miss the end of some, and then never answers.
    fn remove_all(&self) -> anyhow::Result<()> {
        let all = self.docker(&["ps", "-aq"])?;
        let words: Vec<&str> = ["rm", "-f"].into_iter().chain(all.lines()).collect();
        if words.len() == 2 {
            return Ok(());
        }
        let mut removal = self.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let ended = until("the containers are removed", || Ok(removal.try_wait()?));
        if ended.is_err() {
            removal.kill()?;
            removal.wait()?;
        }
        ended.map(drop)
    }

    /// SIGKILL; its containers run on without it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        signal(&self.process, libc::SIGKILL);
        self.process.wait()?;
        if self.kind == Kind::Podman {
            return fs::remove_file(self.socket()).context("the socket");
        }
        // Its containerd ends with it. Where nobody takes note of the end of orphans, the next engine takes that for alive.
        fs::remove_file(self.directory.path().join("exec/containerd/containerd.pid")).context("containerd's pid")
    }

    /// Starts again on the same data.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = spawn(self.kind, self.directory.path(), self.holder.id())?;
        self.await_answer()
    }

    /// SIGSTOP: it answers nobody.
    pub fn pause(&self) {
        signal(&self.process, libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(&self.process, libc::SIGCONT);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(DOCKER);
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(words);
        command
    }

    fn output(&self, words: &[&str]) -> anyhow::Result<Output> {
        self.command(words).output().context("docker does not start")
    }

    fn await_answer(&mut self) -> anyhow::Result<()> {
        until("the engine answers", || {
            if let Some(status) = self.process.try_wait()? {
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                bail!("{} ended with {status}: {log}", self.kind.program());
            }
            Ok(self.output(&["version"])?.status.success().then_some(()))
        })
    }

    /// One file system for all images.
    fn layer(&self) -> anyhow::Result<PathBuf> {
        let root = self.directory.path().join("layer");
        for folder in ["bin", "www", "tmp", "etc"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy(BUSYBOX, root.join("bin/busybox"))?;
        for program in PROGRAMS {
            symlink("busybox", root.join("bin").join(program))?;
        }
        fs::write(root.join("www/index.html"), "hello from a Linux container\n")?;
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
        let archive = self.directory.path().join("layer.tar");
        let status = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status()?;
        if status.success() { Ok(archive) } else { bail!("tar ended with {status}") }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A test that has failed may have left it so.
        self.resume();
        // Podman removes what others have joined only after those.
        drop(self.remove_all().and_then(|()| self.remove_all()));
        signal(&self.process, libc::SIGTERM);
        drop(self.process.wait());
        end_monitors(self.directory.path());
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}

/// Podman's monitors of programs that were executed stay for five minutes; those of this engine have its directory in their words.
fn end_monitors(directory: &Path) {
    let directory = directory.display().to_string();
    let words = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| words(*pid).split('\0').next().is_some_and(|program| program.ends_with("/conmon"))) {
        if words(pid).contains(&directory)
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Whether a process has left the namespaces of this one.
fn is_apart(pid: u32) -> anyhow::Result<bool> {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    Ok(of(&pid.to_string())? != of("self")?)
}

/// What this machine lacks.
fn lacking(kind: Kind) -> Option<String> {
    let is_there = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    if !rustix::process::geteuid().is_root() {
        return Some("only root starts an engine".to_owned());
    }
    let programs = [kind.program(), DOCKER, "unshare", "nsenter"].into_iter().find(|program| !is_there(program));
    let missing = programs.or_else(|| (!Path::new(BUSYBOX).exists()).then_some("busybox"));
    missing.map(|program| format!("{program} is not installed"))
}

fn spawn(kind: Kind, directory: &Path, holder: u32) -> anyhow::Result<Child> {
    let log = fs::File::options().create(true).append(true).open(directory.join("log"))?;
    let place = |name: &str| directory.join(name).display().to_string();
    let socket = format!("unix://{}", place("engine.sock"));
    let (root, state, pid) = (place("root"), place("exec"), place("pid"));
    let mut command = Command::new("nsenter");
    command.args(["--net", "--mount", "--target", &holder.to_string(), kind.program()]);
    match kind {
        Kind::Docker(flags) => command
            .args(["--data-root", &root, "--exec-root", &state, "--pidfile", &pid, "--host", &socket])
            .args(flags),
        Kind::Podman => command
            .args(["--root", &root, "--runroot", &state, "--runtime", "runc", "--cgroup-manager", "cgroupfs"])
            .args(["--events-backend", "file", "system", "service", "--time", "0", &socket])
            .env("CONTAINERS_CONF", place("containers.conf")),
    };
    let command = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("{} does not start", kind.program()))
}
