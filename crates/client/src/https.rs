//! The API over HTTPS: one or several servers of one cluster, one pool of connections, HTTP/2 where the server offers it,
//! certificate or bearer token.
//!
//! Of several servers one is in use (`servers`). Another takes its place at once where it refuses, breaks, falls silent or
//! says that it cannot serve; what may be repeated is repeated there (`exchange`).

mod connect;
mod exchange;
mod liveness;
mod route;
mod servers;
#[cfg(test)]
mod tests;
mod upgrade;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use wherry_api::{Error, Resource};

use crate::api::Client;
use crate::kubeconfig::Kubeconfig;
use crate::transport::{RawWatch, Request, Transport, WatchOptions};
pub use connect::{Carried, TlsConnector, Way, causes, pools};
pub use exchange::refusal;
use exchange::{Call, broken};
pub use route::{Route, escape, of as route_of, watch as watch_route};
use servers::{Server, Servers};
pub use upgrade::Upgraded;
pub use watch::events as watch_events;

/// Why a kubeconfig gives no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Certificates or keys that cannot be read.
    #[error("the kubeconfig's certificates cannot be used: {0}")]
    Certificate(String),
    /// A server address that is no URL.
    #[error("\"{0}\" is no server address; it must be https://HOST:PORT")]
    Server(String),
    /// A server's name that no certificate can have.
    #[error("\"{0}\" is no name that a certificate can have")]
    Name(String),
}

impl Client {
    /// A client of the cluster that a kubeconfig names.
    pub fn from_kubeconfig(kubeconfig: &Kubeconfig) -> Result<Self, ConnectError> {
        Ok(Self::new(Arc::new(Https::new(kubeconfig)?)))
    }
}

/// The transport over HTTPS.
pub struct Https {
    servers: Arc<Servers>,
    /// Makes connections that will speak something else than HTTP.
    upgrades: TlsConnector,
    token: String,
    /// Whether fields that the server does not know are an error, not a warning.
    strict: bool,
}

impl Https {
    /// A pool without connections yet.
    pub fn new(kubeconfig: &Kubeconfig) -> Result<Self, ConnectError> {
        let Kubeconfig { servers, token, .. } = kubeconfig;
        let https = Self::with_tls(servers, tls_config(kubeconfig)?)?;
        Ok(https.bearer(token))
    }

    /// The same, for servers (`https://host:port`, one at least) and certificates that no kubeconfig names. The first is
    /// in use until it fails.
    pub fn with_tls<S: AsRef<str>>(servers: &[S], tls: rustls::ClientConfig) -> Result<Self, ConnectError> {
        Self::by(servers, tls, None, None)
    }

    /// The same, for one server that is known by its name: its certificate must be for `name`, wherever it is: at the host of
    /// `url`, or where a way of its own leads.
    pub fn named(
        name: &str,
        url: &str,
        tls: rustls::ClientConfig,
        way: Option<Arc<dyn Way>>,
    ) -> Result<Self, ConnectError> {
        let known = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Name(name.to_owned()))?;
        Self::by(&[url], tls, Some(known), way)
    }

    fn by<S: AsRef<str>>(
        servers: &[S],
        mut tls: rustls::ClientConfig,
        name: Option<ServerName<'static>>,
        way: Option<Arc<dyn Way>>,
    ) -> Result<Self, ConnectError> {
        let servers = servers.iter().map(|url| Server::new(url.as_ref())).collect::<Result<Vec<_>, _>>()?;
        // HTTP/2 has no upgrades.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let upgrades = TlsConnector::by(tls.clone(), name.clone(), way.clone());
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let servers = Servers::new(servers, TlsConnector::by(tls, name, way))?;
        Ok(Self { servers: Arc::new(servers), upgrades, token: String::new(), strict: false })
    }

    /// The same, with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self }
    }

    /// The same, for a person: what is written with a wrong field is refused (`fieldValidation=Strict`).
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// From now on these are the cluster's servers. The one in use stays so where it is among them. None at all, or what is
    /// no address, changes nothing.
    pub fn set_servers<S: AsRef<str>>(&self, urls: &[S]) -> Result<(), ConnectError> {
        let servers = urls.iter().map(|url| Server::new(url.as_ref())).collect::<Result<Vec<_>, _>>()?;
        self.servers.set(servers);
        Ok(())
    }

    /// Reads `path_and_query` whole: documents that are no objects, such as discovery's.
    pub async fn fetch(&self, path_and_query: &str) -> Result<Bytes, Error> {
        self.carry_out(&Call::get(path_and_query)).await
    }

    /// Reads `path_and_query` as a stream of chunks: logs, for which there is no object.
    pub async fn stream(&self, path_and_query: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let (server, response) = self.open(&Call::get(path_and_query)).await?;
        let (servers, of) = (Arc::clone(&self.servers), Arc::clone(&server));
        let silent = async move { servers.silent(&of).await };
        Ok(until(silent, heard_chunks(response.into_body(), server)))
    }

    /// One request to a server that is no API server (the image registry): status, headers and the whole body.
    pub async fn call(
        &self,
        method: http::Method,
        path_and_query: &str,
        accept: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<(http::StatusCode, http::HeaderMap, Bytes), Error> {
        let content_type = content_type.unwrap_or_default();
        let (parts, body) = self.exchange(&Call { method, path_and_query, accept, content_type, body }).await?;
        Ok((parts.status, parts.headers, body))
    }

    /// What such a server has at a path, as it comes: it may be more than fits into memory.
    pub async fn download(&self, path_and_query: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let (server, response) = self.open(&Call::get(path_and_query)).await?;
        Ok(heard_chunks(response.into_body(), server))
    }
}

#[async_trait]
impl Transport for Https {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let route = route::of(request, self.strict)?;
        let (path_and_query, content_type) = (route.path_and_query.as_str(), route.content_type);
        let (method, accept, body) = (route.method, "application/json", route.body);
        self.carry_out(&Call { method, path_and_query, accept, content_type, body }).await
    }

    /// A watch ends when another server takes the place of its own: whose events it has may be behind.
    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        let path_and_query = route::watch(resource, namespace.as_deref(), &options);
        let (server, response) = self.open(&Call::get(&path_and_query)).await?;
        let left = Arc::clone(&self.servers).left(Arc::clone(&server));
        Ok(watch::events(until(left, heard_chunks(response.into_body(), server))))
    }
}

/// The chunks of a body: each one shows that the server lives.
fn heard_chunks(body: hyper::body::Incoming, server: Arc<Server>) -> BoxStream<'static, Result<Bytes, Error>> {
    let chunks = body.into_data_stream().inspect(move |_| server.heard());
    chunks.map(|chunk| chunk.map_err(|error| broken(&error))).boxed()
}

/// The same chunks, and an error once the server is left.
fn until(
    left: impl Future<Output = ()> + Send + 'static,
    chunks: BoxStream<'static, Result<Bytes, Error>>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let chunks = stream::unfold(Some((chunks, Box::pin(left))), |state| async move {
        let (mut chunks, mut left) = state?;
        tokio::select! {
            biased;
            chunk = chunks.next() => chunk.map(|chunk| (chunk, Some((chunks, left)))),
            () = &mut left => Some((Err(broken("another server took its place")), None)),
        }
    });
    chunks.boxed()
}

/// Whom a kubeconfig trusts, and what is presented there.
pub fn tls_config(kubeconfig: &Kubeconfig) -> Result<rustls::ClientConfig, ConnectError> {
    let unreadable = |e: &dyn std::fmt::Display| ConnectError::Certificate(e.to_string());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(kubeconfig.authority.as_bytes()) {
        roots.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    if kubeconfig.certificate.is_empty() {
        Ok(builder.with_no_client_auth())
    } else {
        let chain = CertificateDer::pem_slice_iter(kubeconfig.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(kubeconfig.key.as_bytes()).map_err(|e| unreadable(&e))?;
        builder.with_client_auth_cert(chain.map_err(|e| unreadable(&e))?, key).map_err(|e| unreadable(&e))
    }
}
