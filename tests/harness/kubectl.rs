//! Stock kubectl against a cluster, where it is installed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Context;

use crate::cluster::Cluster;
use crate::process::until;

/// kubectl with the kubeconfig of one cluster and a cache of its own.
pub struct Kubectl<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

/// What a run printed.
#[derive(Clone, Debug, Default)]
pub struct Printed {
    /// Whether it exited with 0.
    pub ok: bool,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
}

impl<'a> Kubectl<'a> {
    /// kubectl, or `None` where it is not installed; the caller says so loudly.
    pub fn of(cluster: &'a Cluster) -> Option<Self> {
        let found = Command::new("kubectl").args(["version", "--client"]).output();
        found.is_ok_and(|output| output.status.success()).then_some(Self { cluster, namespace: "default" })
    }

    /// The same, in a namespace.
    pub fn within(&self, namespace: &'a str) -> Self {
        Self { cluster: self.cluster, namespace }
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Printed> {
        self.run_with(arguments, "")
    }

    /// Runs it with a text on stdin.
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<Printed> {
        let mut child = self.command(arguments).spawn().context("cannot start kubectl")?;
        child.stdin.take().context("kubectl's stdin")?.write_all(stdin.as_bytes())?;
        Ok(child.wait_with_output()?.into())
    }

    /// Starts a command that goes on until it is dropped.
    pub fn follow(&self, arguments: &[&str]) -> anyhow::Result<Following> {
        Following::start(self.command(arguments))
    }

    /// A command that the caller starts and ends itself (`get -w`, `logs -f`).
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        command.arg("--cache-dir").arg(self.cluster.data().join("kubectl-cache"));
        command.args(["--namespace", self.namespace]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command that goes on (`get -w`, `logs -f`). Killed, by its pid, when dropped.
pub struct Following {
    child: Child,
    lines: Arc<Mutex<String>>,
}

impl Following {
    /// Starts it and collects what it prints.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().context("cannot start the command")?;
        let out = child.stdout.take().context("its stdout")?;
        let lines = Arc::new(Mutex::new(String::new()));
        let into = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(mut lines) = into.lock() {
                    lines.push_str(&line);
                    lines.push('\n');
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    /// Waits until it has printed this.
    pub fn until(&self, part: &str) -> anyhow::Result<()> {
        let told = until(part, || Ok(self.printed().contains(part).then_some(())));
        told.with_context(|| format!("so far: {}", self.printed()))
    }

    /// Waits until it ends by itself; whether it succeeded.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        until("the command ends", || Ok(self.child.try_wait()?)).map(|status| status.success())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
