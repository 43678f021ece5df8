//! Stock kubectl against a cluster, where it is installed.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::cluster::Cluster;

/// kubectl with the kubeconfig of one cluster and a cache of its own.
pub struct Kubectl<'a> {
    cluster: &'a Cluster,
}

/// What a run printed.
#[derive(Clone, Debug)]
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
        found.is_ok_and(|output| output.status.success()).then_some(Self { cluster })
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Printed> {
        self.run_with(arguments, "")
    }

    /// Runs it with a text on stdin.
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<Printed> {
        let mut child = self.command(arguments).spawn().context("cannot start kubectl")?;
        child.stdin.take().context("kubectl's stdin")?.write_all(stdin.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Printed {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A command that the caller starts and ends itself (`get -w`, `logs -f`).
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        command.arg("--cache-dir").arg(self.cluster.data().join("kubectl-cache")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
