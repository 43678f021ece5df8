//! The API over HTTPS: one pool of connections, HTTP/2 where the server offers it, certificate or bearer token.

mod connect;
mod route;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wherry_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use wherry_api::{Error, Reason, Resource};

use crate::api::Client;
use crate::kubeconfig::Kubeconfig;
use crate::transport::{RawWatch, Request, Transport, WatchOptions};
use connect::TlsConnector;

/// The largest answer that is read whole: a list of 100,000 small objects.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How often a connection in use is tried, and how long the other end may take to answer: one that leads nowhere any more is
/// given up, since else all requests would wait on it for the kernel's quarter of an hour.
const PING_PERIOD: Duration = Duration::from_secs(2);
const PING_PATIENCE: Duration = Duration::from_secs(15);

/// Why a kubeconfig gives no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Certificates or keys that cannot be read.
    #[error("the kubeconfig's certificates cannot be used: {0}")]
    Certificate(String),
    /// A server address that is no URL.
    #[error("\"{0}\" is no server address; it must be https://HOST:PORT")]
    Server(String),
}

impl Client {
    /// A client of the cluster that a kubeconfig names.
    pub fn from_kubeconfig(kubeconfig: &Kubeconfig) -> Result<Self, ConnectError> {
        Ok(Self::new(Arc::new(Https::new(kubeconfig)?)))
    }
}

/// The transport over HTTPS.
pub struct Https {
    pool: Pool<TlsConnector, Full<Bytes>>,
    server: String,
    token: String,
    /// Whether fields that the server does not know are an error, not a warning.
    strict: bool,
}

impl Https {
    /// A pool without connections yet.
    pub fn new(kubeconfig: &Kubeconfig) -> Result<Self, ConnectError> {
        let Kubeconfig { server, token, .. } = kubeconfig;
        let https = Self::with_tls(server, tls_config(kubeconfig)?)?;
        Ok(https.bearer(token))
    }

    /// The same, for a server (`https://host:port`) and certificates that no kubeconfig names.
    pub fn with_tls(server: &str, mut tls: rustls::ClientConfig) -> Result<Self, ConnectError> {
        let uri: Result<http::Uri, _> = server.parse();
        if !uri.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some()) {
            return Err(ConnectError::Server(server.to_owned()));
        }
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        builder.http2_keep_alive_interval(PING_PERIOD).http2_keep_alive_timeout(PING_PATIENCE);
        let pool = builder.build(TlsConnector::new(tls));
        Ok(Self { pool, server: server.to_owned(), token: String::new(), strict: false })
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

    /// Reads `path_and_query` whole: documents that are no objects, such as discovery's.
    pub async fn fetch(&self, path_and_query: &str) -> Result<Bytes, Error> {
        read(self.exchange(http::Method::GET, path_and_query, "", Bytes::new()).await?.into_body()).await
    }

    /// Reads `path_and_query` as a stream of chunks: logs, for which there is no object.
    pub async fn stream(&self, path_and_query: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let response = self.exchange(http::Method::GET, path_and_query, "", Bytes::new()).await?;
        let chunks = response.into_body().into_data_stream();
        Ok(chunks.map(|chunk| chunk.map_err(|e| unreachable_server(&e))).boxed())
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
        let response = self.ask(method, path_and_query, accept, content_type.unwrap_or_default(), body).await?;
        let (parts, body) = response.into_parts();
        Ok((parts.status, parts.headers, read(body).await?))
    }

    async fn exchange(
        &self,
        method: http::Method,
        path_and_query: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, Error> {
        let response = self.ask(method, path_and_query, "application/json", content_type, body).await?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    async fn ask(
        &self,
        method: http::Method,
        path_and_query: &str,
        accept: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, Error> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path_and_query}", self.server));
        request = request.header(ACCEPT, accept);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let request = request.body(Full::new(body)).map_err(|e| Error::new(Reason::BadRequest, e.to_string()))?;
        self.pool.request(request).await.map_err(|e| self.no_answer(&e))
    }

    fn no_answer(&self, error: &hyper_util::client::legacy::Error) -> Error {
        let cause = std::iter::successors(std::error::Error::source(error), |e| e.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ");
        let message = format!("no answer from {}: {error}: {cause}", self.server);
        if is_refused(error) { Error::refusal(message) } else { Error::new(Reason::ServiceUnavailable, message) }
    }
}

/// Whether nobody listens at the server's address.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.downcast_ref().is_some_and(refused))
}

#[async_trait]
impl Transport for Https {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let route = route::of(request, self.strict)?;
        let response = self.exchange(route.method, &route.path_and_query, route.content_type, route.body).await?;
        read(response.into_body()).await
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        let path_and_query = route::watch(resource, namespace.as_deref(), &options);
        let response = self.exchange(http::Method::GET, &path_and_query, "", Bytes::new()).await?;
        Ok(watch::events(response.into_body()))
    }
}

async fn read(body: Incoming) -> Result<Bytes, Error> {
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|e| unreachable_server(&*e))
}

/// The error that an answer tells: its `Status`, or its first words.
async fn refusal(response: http::Response<Incoming>) -> Error {
    let code = response.status();
    let body = match read(response.into_body()).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    match serde_json::from_slice::<Status>(&body) {
        Ok(status) if status.reason.is_some() => Error::from_status(&status),
        // A kubelet answers in plain words.
        _ if code == http::StatusCode::BAD_REQUEST => Error::new(Reason::BadRequest, String::from_utf8_lossy(&body)),
        _ if code == http::StatusCode::NOT_FOUND => Error::new(Reason::NotFound, String::from_utf8_lossy(&body)),
        _ => Error::new(Reason::InternalError, format!("{code}: {}", String::from_utf8_lossy(&body))),
    }
}

fn unreachable_server(error: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::new(Reason::ServiceUnavailable, format!("the connection broke: {error}"))
}

fn tls_config(kubeconfig: &Kubeconfig) -> Result<rustls::ClientConfig, ConnectError> {
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
