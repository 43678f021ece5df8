//! The ports of this process: bound first of all, so that a port in use is told before anything is changed.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::config::CommonArgs;
use crate::data_dir::DataDir;

const PORTS: &str = "ports.json";

/// The listening sockets of a master.
pub struct MasterListeners {
    /// The API.
    pub api: TcpListener,
    /// The image registry.
    pub registry: TcpListener,
}

/// The listening sockets of a node.
pub struct NodeListeners {
    /// The ingress, http.
    pub http: TcpListener,
    /// The ingress, https.
    pub https: TcpListener,
    /// The node's endpoints for the API server.
    pub kubelet: TcpListener,
}

/// What was picked, a part of `DATA/ports.json`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct MasterPorts {
    /// The API.
    pub api: u16,
    /// The image registry.
    pub registry: u16,
}

/// What was picked, the other part of `DATA/ports.json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NodePorts {
    /// The ingress, http.
    pub http: u16,
    /// The ingress, https.
    pub https: u16,
    /// The node's endpoints for the API server.
    pub kubelet: u16,
}

impl MasterListeners {
    /// Binds all, or none.
    pub async fn bind(args: &CommonArgs) -> anyhow::Result<Self> {
        Ok(Self {
            api: bind(args, args.api_port, "--api-port").await?,
            registry: bind(args, args.registry_port, "--registry-port").await?,
        })
    }

    /// What was picked.
    pub fn ports(&self) -> anyhow::Result<MasterPorts> {
        Ok(MasterPorts { api: port(&self.api)?, registry: port(&self.registry)? })
    }
}

impl NodeListeners {
    /// Binds all, or none.
    pub async fn bind(args: &CommonArgs) -> anyhow::Result<Self> {
        Ok(Self {
            http: bind(args, args.http_port, "--http-port").await?,
            https: bind(args, args.https_port, "--https-port").await?,
            kubelet: bind(args, args.kubelet_port, "--kubelet-port").await?,
        })
    }

    /// What was picked.
    pub fn ports(&self) -> anyhow::Result<NodePorts> {
        Ok(NodePorts { http: port(&self.http)?, https: port(&self.https)?, kubelet: port(&self.kubelet)? })
    }
}

/// Puts a role's part into `DATA/ports.json`, beside that of the other role.
pub fn publish(data: &DataDir, part: &impl Serialize) -> anyhow::Result<()> {
    let mut all: serde_json::Map<String, Value> =
        data.read(PORTS)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    if let Value::Object(part) = serde_json::to_value(part)? {
        all.extend(part);
    }
    Ok(data.write(PORTS, &serde_json::to_string(&all)?)?)
}

/// Where the master of this data directory is; `None` while none has been started.
pub fn master_ports(data: &DataDir) -> anyhow::Result<Option<MasterPorts>> {
    let Some(text) = data.read(PORTS)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).context("DATA/ports.json names no master")
}

fn port(listener: &TcpListener) -> std::io::Result<u16> {
    listener.local_addr().map(|address| address.port())
}

async fn bind(args: &CommonArgs, port: u16, flag: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(args.bind_address, port);
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        let way_out = way_out(&error, flag);
        anyhow::Error::new(error).context(format!("cannot listen on {address}; {way_out}"))
    })
}

fn way_out(error: &std::io::Error, flag: &str) -> String {
    match error.kind() {
        ErrorKind::AddrNotAvailable => "choose an address of this machine with --bind-address".to_owned(),
        _ => format!("choose another port with {flag} (0 picks a free one)"),
    }
}
