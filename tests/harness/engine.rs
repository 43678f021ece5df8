//! A Docker Engine of a test's own: Debian's dockerd in a network and mount namespace of its own, without a bridge and without
//! rules, so that the machine's network is left as it is. Its images are made here, of static programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, bail};

use crate::cluster::{signal, until};
use crate::kubectl::Printed;

const DOCKERD: &str = "dockerd";
/// The command line is another on machines that have a newer one of their own: any speaks to this engine.
const DOCKER: &str = "docker";
const BUSYBOX: &str = "/bin/busybox";
/// What holds the namespaces: with a localhost, for a registry there.
const HOLD: &str = "/bin/busybox ifconfig lo up && exec /bin/busybox cat";
const PROGRAMS: [&str; 15] = [
    "sh", "httpd", "cat", "echo", "sleep", "ls", "wget", "nslookup", "id", "env", "hostname", "head", "tail", "dd",
    "nc",
];
/// The images: `web` serves `/www` at port 8080, `tools` does nothing by itself.
const IMAGES: [(&str, &[&str]); 2] = [
    ("web:1", &[r#"ENTRYPOINT ["/bin/httpd"]"#, r#"CMD ["-f","-p","8080","-h","/www"]"#]),
    ("tools:1", &[r#"CMD ["/bin/sh"]"#]),
];

/// A running engine. Ended, with all of its containers, when dropped.
pub struct Engine {
    directory: tempfile::TempDir,
    process: Child,
    /// Holds the namespaces, which an engine that was killed leaves to the next; ends with its stdin.
    holder: Child,
}

impl Engine {
    /// Starts an engine that has the images; `None` where none can run, which is said loudly, with why.
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    pub fn start(test: &str) -> Option<Self> {
        match lacking() {
            None => {}
            Some(why) => {
                eprintln!("SKIPPED: {test}: {why}; `apt-get install docker.io busybox-static`, and run as root");
                return None;
            }
        }
        match Self::try_start() {
            Ok(engine) => Some(engine),
            Err(error) => {
                eprintln!("SKIPPED: {test}: the engine does not start here: {error:#}");
                None
            }
        }
    }

    fn try_start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", BUSYBOX, "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        until("the namespaces are there", || Ok(is_apart(holder.id())?.then_some(())))?;
        let process = spawn(directory.path(), holder.id())?;
        let mut engine = Self { directory, process, holder };
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
        let printed: Printed = self.command(words)?.into();
        if !printed.ok {
            bail!("docker {}: {}", words.join(" "), printed.err);
        }
        Ok(printed.out.trim().to_owned())
    }

    /// SIGKILL; its containers run on without it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        signal(&self.process, libc::SIGKILL);
        self.process.wait()?;
        // Its containerd ends with it. Where nobody takes note of the end of orphans, the next engine takes that for alive.
        fs::remove_file(self.directory.path().join("exec/containerd/containerd.pid")).context("containerd's pid")
    }

    /// Starts again on the same data.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = spawn(self.directory.path(), self.holder.id())?;
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

    fn command(&self, words: &[&str]) -> anyhow::Result<Output> {
        let host = format!("unix://{}", self.socket().display());
        Command::new(DOCKER).arg("--host").arg(host).args(words).output().context("docker does not start")
    }

    fn await_answer(&mut self) -> anyhow::Result<()> {
        until("the engine answers", || {
            if let Some(status) = self.process.try_wait()? {
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                bail!("dockerd ended with {status}: {log}");
            }
            Ok(self.command(&["version"])?.status.success().then_some(()))
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
        let all = self.docker(&["ps", "-aq"]).unwrap_or_default();
        let words: Vec<&str> = ["rm", "-f"].into_iter().chain(all.lines()).collect();
        if words.len() > 2 {
            drop(self.docker(&words));
        }
        signal(&self.process, libc::SIGTERM);
        drop(self.process.wait());
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}

/// Whether a process has left the namespaces of this one.
fn is_apart(pid: u32) -> anyhow::Result<bool> {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    Ok(of(&pid.to_string())? != of("self")?)
}

/// What this machine lacks.
fn lacking() -> Option<String> {
    let is_there = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    if !rustix::process::geteuid().is_root() {
        return Some("only root starts an engine".to_owned());
    }
    let programs = [DOCKERD, DOCKER, "unshare", "nsenter"].into_iter().find(|program| !is_there(program));
    let missing = programs.or_else(|| (!Path::new(BUSYBOX).exists()).then_some("busybox"));
    missing.map(|program| format!("{program} is not installed"))
}

fn spawn(directory: &Path, holder: u32) -> anyhow::Result<Child> {
    let log = fs::File::options().create(true).append(true).open(directory.join("log"))?;
    let place = |name: &str| directory.join(name).display().to_string();
    let socket = format!("unix://{}", place("engine.sock"));
    let (root, state, pid) = (place("root"), place("exec"), place("pid"));
    Command::new("nsenter")
        .args(["--net", "--mount", "--target", &holder.to_string(), DOCKERD])
        .args(["--data-root", &root, "--exec-root", &state, "--pidfile", &pid, "--host", &socket])
        .args(["--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("dockerd does not start")
}
