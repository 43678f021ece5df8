//! A node on a machine of its own: another data directory and another address than its master's.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};

use anyhow::{Context, bail};

use crate::cluster::Cluster;
use crate::process::{Data, Process, refused};

/// A machine with a node: its process, and where it is.
pub struct Machine {
    process: Process,
    address: IpAddr,
}

impl Deref for Machine {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Machine {
    /// Starts a node of this name at this address, which joins with a token, and waits until it is ready.
    pub fn join(cluster: &Cluster, name: &str, address: &str, token: &str, more: &[&str]) -> anyhow::Result<Self> {
        let server = cluster.server()?;
        let arguments = joining(&server, name, address, token, more);
        Self::start(cluster, tempfile::tempdir()?, address, &arguments)
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
        let arguments = ["--name", name, "--bind-address", address, "--kubeconfig", &kubeconfig];
        Self::start(cluster, data, address, &arguments)
    }

    /// The same as `join` where it must not start: what it wrote to stderr.
    pub fn refused(cluster: &Cluster, name: &str, address: &str, token: &str, more: &[&str]) -> anyhow::Result<String> {
        let (server, data) = (cluster.server()?, tempfile::tempdir()?);
        let arguments = joining(&server, name, address, token, more);
        match refused(cluster.binary(), "node", data.path(), &arguments)? {
            (Some(0), text) => bail!("it ended well: {text}"),
            (_, text) => Ok(text),
        }
    }

    fn start(cluster: &Cluster, data: tempfile::TempDir, address: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let process = Process::start(cluster.binary(), "node", Data::Own(data), arguments)?;
        Ok(Self { process, address: address.parse()? })
    }

    /// Where its ingress is asked, over http.
    pub fn ingress(&self) -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(self.address, self.ports()?.http))
    }
}

/// How a node is told to join.
fn joining<'a>(server: &'a str, name: &'a str, address: &'a str, token: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let own = ["--name", name, "--bind-address", address, "--join", server, "--token", token];
    [&own, more].concat()
}
