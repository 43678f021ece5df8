//! One request, over as many servers as it takes.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Response, StatusCode, response};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use wherry_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use wherry_api::{Error, Reason};

use super::Https;
use super::connect::causes;
use super::servers::Server;

/// The largest answer that is read whole: a list of 100,000 small objects.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What is asked of a server.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path_and_query: &'a str,
    pub(super) accept: &'a str,
    /// Empty where there is no body.
    pub(super) content_type: &'a str,
    pub(super) body: Bytes,
}

/// Why a server gave no answer.
enum Failure {
    /// Nothing of the request was sent.
    Unsent(Error),
    /// It may have been carried out, or not.
    Unknown(Error),
}

impl<'a> Call<'a> {
    pub(super) const fn get(path_and_query: &'a str) -> Self {
        let (accept, content_type) = ("application/json", "");
        Self { method: Method::GET, path_and_query, accept, content_type, body: Bytes::new() }
    }

    /// Whether it changes nothing, so that it may be repeated.
    fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Whether an answer says that another server had better be asked. A write is repeated only where the answer invites to
    /// (`Retry-After`), as Kubernetes' clients do: nothing of it was carried out then.
    fn is_declined(&self, response: &Response<Incoming>) -> bool {
        match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => self.is_read() || response.headers().contains_key(RETRY_AFTER),
            // It is behind the revision that was asked for, or does not get at what it needs.
            StatusCode::GATEWAY_TIMEOUT => self.is_read(),
            _ => false,
        }
    }
}

impl Https {
    /// The body of the answer to a request that succeeds; its refusal as an error.
    pub(super) async fn carry_out(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let (parts, body) = self.exchange(call).await?;
        if parts.status.is_success() { Ok(body) } else { Err(refusal(parts.status, &body)) }
    }

    /// The answer to a request that succeeds, its body yet to come, and who gave it.
    pub(super) async fn open(&self, call: &Call<'_>) -> Result<(Arc<Server>, Response<Incoming>), Error> {
        let (server, response) = self.ask(call, &mut Vec::new()).await?;
        if response.status().is_success() {
            return Ok((server, response));
        }
        let status = response.status();
        Err(refusal(status, &self.read(&server, response.into_body()).await?))
    }

    /// The whole answer to a request.
    pub(super) async fn exchange(&self, call: &Call<'_>) -> Result<(response::Parts, Bytes), Error> {
        let mut tried = Vec::new();
        loop {
            let (server, response) = self.ask(call, &mut tried).await?;
            let (parts, body) = response.into_parts();
            match self.read(&server, body).await {
                Err(_) if call.is_read() && self.servers.next(&tried).is_some() => {}
                body => return Ok((parts, body?)),
            }
        }
    }

    /// Asks the servers that were not tried yet, one after the other, until one answers.
    async fn ask(
        &self,
        call: &Call<'_>,
        tried: &mut Vec<Arc<Server>>,
    ) -> Result<(Arc<Server>, Response<Incoming>), Error> {
        loop {
            let server = self.servers.next(tried).ok_or_else(|| broken("no server is left"))?;
            let answered = self.attempt(&server, call).await;
            tried.push(Arc::clone(&server));
            let is_last = self.servers.next(tried).is_none();
            match answered {
                Ok(response) if call.is_declined(&response) && !is_last => {}
                Ok(response) => {
                    if !call.is_declined(&response) {
                        self.servers.replace(tried, &server);
                    }
                    return Ok((server, response));
                }
                Err(Failure::Unknown(error)) if is_last || !call.is_read() => return Err(error),
                Err(Failure::Unsent(error)) if is_last => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn attempt(&self, server: &Arc<Server>, call: &Call<'_>) -> Result<Response<Incoming>, Failure> {
        let request = self.request(server, call).map_err(Failure::Unsent)?;
        if !call.is_read() && self.servers.is_unfit_for_writes(server).await {
            return Err(Failure::Unsent(silence(server)));
        }
        tokio::select! {
            biased;
            answered = self.servers.pool.request(request) => match answered {
                Ok(response) => {
                    server.heard();
                    Ok(response)
                }
                Err(error) if error.is_connect() => Err(Failure::Unsent(no_answer(server, &error))),
                Err(error) => Err(Failure::Unknown(no_answer(server, &error))),
            },
            () = self.servers.silent(server) => Err(Failure::Unknown(silence(server))),
        }
    }

    fn request(&self, server: &Server, call: &Call<'_>) -> Result<http::Request<Full<Bytes>>, Error> {
        let uri = format!("{}{}", server.url, call.path_and_query);
        let mut request = http::Request::builder().method(&call.method).uri(uri).header(ACCEPT, call.accept);
        if !call.content_type.is_empty() {
            request = request.header(CONTENT_TYPE, call.content_type);
        }
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let body = Full::new(call.body.clone());
        request.body(body).map_err(|e| Error::new(Reason::BadRequest, e.to_string()))
    }

    async fn read(&self, server: &Arc<Server>, body: Incoming) -> Result<Bytes, Error> {
        tokio::select! {
            biased;
            whole = Limited::new(body, ANSWER_BYTES_MAX).collect() => {
                whole.map(Collected::to_bytes).map_err(|error| broken(&*error))
            }
            () = self.servers.silent(server) => Err(silence(server)),
        }
    }
}

/// The error of a connection that broke.
pub(super) fn broken(why: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::new(Reason::ServiceUnavailable, format!("the connection broke: {why}"))
}

fn silence(server: &Server) -> Error {
    let message = format!("no answer from {}: it is silent, while another server of the cluster answers", server.url);
    Error::new(Reason::ServiceUnavailable, message)
}

fn no_answer(server: &Server, error: &hyper_util::client::legacy::Error) -> Error {
    let message = format!("no answer from {}: {}", server.url, causes(error));
    if is_refused(error) { Error::refusal(message) } else { Error::new(Reason::ServiceUnavailable, message) }
}

/// Whether nobody listens at the server's address.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.downcast_ref().is_some_and(refused))
}

/// The error that an answer tells: its `Status`, or its first words.
pub fn refusal(code: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.reason.is_some() => Error::from_status(&status),
        // A kubelet answers in plain words.
        _ if code == StatusCode::BAD_REQUEST => Error::new(Reason::BadRequest, String::from_utf8_lossy(body)),
        _ if code == StatusCode::NOT_FOUND => Error::new(Reason::NotFound, String::from_utf8_lossy(body)),
        _ => Error::new(Reason::InternalError, format!("{code}: {}", String::from_utf8_lossy(body))),
    }
}
