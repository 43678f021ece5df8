//! A node on a machine of its own: another data directory and another address than its master's.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};

use crate::cluster::{Cluster, Ports, kill_sandboxes, signal, spawn, until};

/// A machine with a node. Killed, by its pid, when dropped.
pub struct Machine {
    binary: PathBuf,
    address: IpAddr,
    data: tempfile::TempDir,
    arguments: Vec<String>,
    process: Child,
    errors: Arc<Mutex<String>>,
}

impl Machine {
    /// Starts a node of this name at this address, which joins with a token, and waits until it is ready.
    pub fn join(cluster: &Cluster, name: &str, address: &str, token: &str, more: &[&str]) -> anyhow::Result<Self> {
        let mut machine = Self::begin(cluster, name, address, token, more)?;
        machine.await_ready()?;
        Ok(machine)
    }

    /// Starts a node of this name at this address in the cluster of a kubeconfig, `kubelet.conf` among the files that its
    /// data directory has at first, and waits until it is ready.
    pub fn with_kubeconfig(
        cluster: &Cluster,
        name: &str,
        address: &str,
        files: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        for (path, text) in files {
            let path = data.path().join(path);
            std::fs::create_dir_all(path.parent().context("a file has a directory")?)?;
            std::fs::write(path, text)?;
        }
        let kubeconfig = data.path().join("kubelet.conf").display().to_string();
        let own = ["--name", name, "--bind-address", address, "--kubeconfig", &kubeconfig];
        let mut machine = Self::spawn(cluster, data, address, own.map(str::to_owned).into())?;
        machine.await_ready()?;
        Ok(machine)
    }

    /// The same where it must not start: what it wrote to stderr.
    pub fn refused(cluster: &Cluster, name: &str, address: &str, token: &str, more: &[&str]) -> anyhow::Result<String> {
        let mut machine = Self::begin(cluster, name, address, token, more)?;
        let status = until("the node refuses to start", || Ok(machine.process.try_wait()?));
        // The text is complete once the collecting thread, the other owner, is gone.
        until("stderr ends", || Ok((Arc::strong_count(&machine.errors) == 1).then_some(())))?;
        let text = machine.errors();
        let status = status.with_context(|| text.clone())?;
        if status.success() { bail!("it ended well: {text}") } else { Ok(text) }
    }

    fn begin(cluster: &Cluster, name: &str, address: &str, token: &str, more: &[&str]) -> anyhow::Result<Self> {
        let server = cluster.server()?;
        let own = ["--name", name, "--bind-address", address, "--join", &server, "--token", token];
        let arguments: Vec<String> = own.iter().chain(more).map(|&argument| argument.to_owned()).collect();
        Self::spawn(cluster, tempfile::tempdir()?, address, arguments)
    }

    fn spawn(
        cluster: &Cluster,
        data: tempfile::TempDir,
        address: &str,
        arguments: Vec<String>,
    ) -> anyhow::Result<Self> {
        let binary = cluster.binary().to_owned();
        let (process, errors) = spawn(&binary, "node", data.path(), &arguments)?;
        Ok(Self { binary, address: address.parse()?, data, arguments, process, errors })
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where its ingress is asked, over http.
    pub fn ingress(&self) -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(self.address, self.ports()?.http))
    }

    /// The ports that were picked; those of a master are none.
    pub fn ports(&self) -> anyhow::Result<Ports> {
        let text = std::fs::read_to_string(self.data.path().join("ports.json")).context("ports.json")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the process has written to stderr.
    pub fn errors(&self) -> String {
        self.errors.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// SIGTERM, and waits for the end. The exit code.
    pub fn terminate(&mut self) -> anyhow::Result<Option<i32>> {
        signal(&self.process, libc::SIGTERM);
        Ok(self.process.wait()?.code())
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        signal(&self.process, libc::SIGKILL);
        self.process.wait()?;
        Ok(())
    }

    /// SIGSTOP: the node does nothing, and knows nothing of it.
    pub fn pause(&self) {
        signal(&self.process, libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(&self.process, libc::SIGCONT);
    }

    /// Starts again on the same data directory, and waits until it is ready.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        (self.process, self.errors) = spawn(&self.binary, "node", self.data.path(), &self.arguments)?;
        self.await_ready()
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        let ready = until("the node is ready", || {
            if let Some(status) = self.process.try_wait()? {
                bail!("wherry node ended with {status}");
            }
            Ok(self.errors().contains("ready").then_some(()))
        });
        ready.with_context(|| self.errors())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(&self.process, libc::SIGKILL);
            drop(self.process.wait());
        }
        kill_sandboxes(self.data());
    }
}
