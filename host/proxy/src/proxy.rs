//! The parts wired together: what the binary starts.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wherry_api::kinds::{EndpointSlice, Node, Service};
use wherry_base::{Clock, Drain};
use wherry_client::{Client, Informer};
use wherry_vnet::Network;

use crate::ingress::{self, CertificateError, Certificates, Forwarder};
use crate::nodeport;
use crate::table::{self, ServiceFacts, SliceFacts, Sources, Table, ZoneFacts};

/// The kernel listeners of the ingress, bound by the binary so that port 0 works and a port in use is told at once.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Plain HTTP.
    pub http: Option<TcpListener>,
    /// HTTPS.
    pub https: Option<TcpListener>,
}

/// The proxy of a node.
pub struct Proxy {
    client: Client,
    table: Arc<Table>,
    network: Arc<Network>,
    certificates: Arc<Certificates>,
    tls: TlsAcceptor,
    site: Site,
}

/// Where a proxy is.
#[derive(Clone, Debug)]
pub struct Site {
    /// The name of its node.
    pub node: String,
    /// Where node ports are opened.
    pub bind_address: IpAddr,
}

/// Why a proxy cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The certificate for hosts without one of their own.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS as a whole.
    #[error("TLS cannot be configured")]
    Tls(#[from] rustls::Error),
}

impl Proxy {
    /// A proxy that does nothing yet. `table` is the one that `network` was made with.
    pub fn new(
        client: Client,
        table: Arc<Table>,
        network: Arc<Network>,
        clock: &dyn Clock,
        site: Site,
    ) -> Result<Self, ProxyError> {
        let certificates = Certificates::generate(clock)?;
        let tls = TlsAcceptor::from(Arc::new(certificates.server_config()?));
        Ok(Self { client, table, network, certificates, tls, site })
    }

    /// Starts everything under `drain` and returns at once. When the owner drains, nothing new is accepted and requests
    /// in flight are finished within a bound.
    pub fn run(self, listeners: Listeners, drain: &Drain) {
        let services = Informer::<ServiceFacts>::spawn::<Service>(self.client.all(), "", "", drain);
        let slices = Informer::<SliceFacts>::spawn::<EndpointSlice>(self.client.all(), "", "", drain);
        let own = format!("metadata.name={}", self.site.node);
        let zone = Informer::<ZoneFacts>::spawn::<Node>(self.client.all(), "", &own, drain);
        let sources = Sources { services, slices, zone };
        drain.vital().spawn(table::keep(Arc::clone(&self.table), sources, self.site.node));

        let forwarder = Forwarder::new(Arc::clone(&self.table), Arc::clone(&self.network), drain.clone());
        let compiled = ingress::keep(self.client, Arc::clone(&forwarder), self.certificates, drain.clone());
        drain.vital().spawn(compiled);
        drain.vital().spawn(nodeport::keep(self.table, self.network, self.site.bind_address, drain.clone()));
        if let Some(listener) = listeners.http {
            drain.vital().spawn_graceful(ingress::serve_http(listener, Arc::clone(&forwarder), drain.clone()));
        }
        if let Some(listener) = listeners.https {
            drain.vital().spawn_graceful(ingress::serve_https(listener, self.tls, forwarder, drain.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
