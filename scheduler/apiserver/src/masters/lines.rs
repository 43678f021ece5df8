//! The way to other masters, and what it is between machines: kept connections of HTTP/2 over mutual TLS.
//!
//! Who asks says how long it waits; a line that proves useless is dropped by [`Lines::forget`], and the next question gets
//! a new one.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use wherry_client::{TlsConnector, causes, pools};

/// How many masters' lines are kept: those of former members go with all others.
const LINES_MAX: usize = 32;

/// The way to the APIs of other masters.
#[async_trait]
pub trait Masters: Debug + Send + Sync + 'static {
    /// Asks the master at `address` (`host:port`) something, by path and query; the beginning of its answer. Who waits for it
    /// says how long.
    async fn ask(&self, address: &str, request: http::Request<Bytes>) -> Result<Response<Body>, NoAnswer>;
}

/// Lines by the masters' addresses.
#[derive(Debug)]
pub struct Lines {
    tls: rustls::ClientConfig,
    known: Mutex<HashMap<String, Arc<Line>>>,
}

/// The way to one master.
#[derive(Debug)]
pub(crate) struct Line {
    pool: Pool<TlsConnector, Full<Bytes>>,
    address: String,
}

/// A master gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the master at {address}: {why}")]
pub struct NoAnswer {
    /// Who was asked.
    pub address: String,
    /// What stood in the way.
    pub why: String,
    /// Whether it is certain that nothing of the request was sent.
    pub is_unsent: bool,
}

impl Lines {
    /// None yet; with a master's client certificate.
    pub fn new(tls: &rustls::ClientConfig) -> Self {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls, known: Mutex::default() }
    }

    /// The line to the master at `host:port`.
    pub(crate) fn to(&self, address: &str) -> Arc<Line> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = known.get(address) {
            return Arc::clone(line);
        }
        if known.len() >= LINES_MAX {
            known.clear();
        }
        let line = Arc::new(Line::new(self.tls.clone(), address));
        known.insert(address.to_owned(), Arc::clone(&line));
        line
    }

    /// The next to use the line to that master gets a new one.
    pub(crate) fn forget(&self, address: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}

#[async_trait]
impl Masters for Lines {
    async fn ask(&self, address: &str, request: http::Request<Bytes>) -> Result<Response<Body>, NoAnswer> {
        let (parts, body) = request.into_parts();
        let path_and_query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(self.to(address).ask(parts.method, path_and_query, parts.headers, body).await?.map(Body::new))
    }
}

impl Line {
    fn new(tls: rustls::ClientConfig, address: &str) -> Self {
        let pool = pools().http2_only(true).build(TlsConnector::new(tls));
        Self { pool, address: address.to_owned() }
    }

    /// One question, and the beginning of its answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let uri = format!("https://{}{path_and_query}", self.address);
        let request = http::Request::builder().method(method).uri(uri).body(Full::new(body));
        let mut request = request.map_err(|error| self.no_answer(error.to_string(), true))?;
        *request.headers_mut() = headers;
        self.pool.request(request).await.map_err(|error| self.no_answer(causes(&error), error.is_connect()))
    }

    fn no_answer(&self, why: String, is_unsent: bool) -> NoAnswer {
        NoAnswer { address: self.address.clone(), why, is_unsent }
    }
}
