//! The ports of this process: bound first of all, so that a port in use is told before anything is changed.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde::Serialize;
use tokio::net::TcpListener;

use crate::config::CommonArgs;

/// Every listening socket.
pub struct Listeners {
    /// The API.
    pub api: TcpListener,
    /// The ingress, http.
    pub http: TcpListener,
    /// The ingress, https.
    pub https: TcpListener,
    /// The node's endpoints for the API server.
    pub kubelet: TcpListener,
    /// The image registry.
    pub registry: TcpListener,
}

/// What was picked: the content of `DATA/ports.json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ports {
    /// The API.
    pub api: u16,
    /// The ingress, http.
    pub http: u16,
    /// The ingress, https.
    pub https: u16,
    /// The node's endpoints for the API server.
    pub kubelet: u16,
    /// The image registry.
    pub registry: u16,
}

impl Listeners {
    /// Binds all, or none.
    pub async fn bind(args: &CommonArgs) -> anyhow::Result<Self> {
        Ok(Self {
            api: bind(args, args.api_port, "--api-port").await?,
            http: bind(args, args.http_port, "--http-port").await?,
            https: bind(args, args.https_port, "--https-port").await?,
            kubelet: bind(args, args.kubelet_port, "--kubelet-port").await?,
            registry: bind(args, args.registry_port, "--registry-port").await?,
        })
    }

    /// What was picked.
    pub fn ports(&self) -> anyhow::Result<Ports> {
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Ports {
            api: port(&self.api)?,
            http: port(&self.http)?,
            https: port(&self.https)?,
            kubelet: port(&self.kubelet)?,
            registry: port(&self.registry)?,
        })
    }
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
