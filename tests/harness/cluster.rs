//! One `wherry up` process and its data directory.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use wherry_client::{Client, Kubeconfig};

use crate::process::{Data, Process};

/// A running cluster: its process, and how it is asked.
pub struct Cluster(Process);

impl Deref for Cluster {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
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
        Ok(Self(Process::start(binary.as_ref(), verb, Data::Own(tempfile::tempdir()?), arguments)?))
    }

    /// A process of another role on the same data directory, ready; killed when dropped.
    pub fn beside(&self, verb: &'static str, arguments: &[&str]) -> anyhow::Result<Process> {
        Process::start(self.binary(), verb, Data::Shared(self.data().to_owned()), arguments)
    }

    /// The API, as `https://HOST:PORT`.
    pub fn server(&self) -> anyhow::Result<String> {
        Kubeconfig::load(&self.kubeconfig())?.servers.into_iter().next().context("the kubeconfig names no server")
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
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
        let mut command = Command::new(self.binary());
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
        let file = self.data().join(format!("{name}.wasm"));
        std::fs::write(&file, module)?;
        let output = self.wherry(&["image", "load", &file.display().to_string(), &format!("{name}:v1")])?;
        if !output.status.success() {
            bail!("image load {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}
