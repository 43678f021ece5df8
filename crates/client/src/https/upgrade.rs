//! Requests after which the connection speaks another protocol (RFC 9110, section 7.8): `exec`, `attach`, `port-forward`.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use wherry_api::{Error, Reason};

use super::Https;
use super::connect::{Secured, causes};
use super::exchange::{broken, refusal};
use super::servers::Server;

/// The longest refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A connection that speaks what was asked for.
pub struct Upgraded {
    /// The headers of the answer: what was agreed on.
    pub headers: HeaderMap,
    /// The connection.
    pub io: TokioIo<hyper::upgrade::Upgraded>,
}

impl Https {
    /// Asks one of the servers, over a connection of its own, for another protocol; `headers` name it. Its refusal is an error.
    pub async fn upgrade(&self, method: Method, path_and_query: &str, headers: HeaderMap) -> Result<Upgraded, Error> {
        let (server, connection) = self.connect().await?;
        let invalid = |e: &dyn std::fmt::Display| Error::new(Reason::BadRequest, e.to_string());
        let uri: Uri = path_and_query.parse().map_err(|e| invalid(&e))?;
        let mut request = Request::new(Empty::<Bytes>::new());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let host = server.url.trim_start_matches("https://");
        request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(|e| invalid(&e))?);
        if !self.token.is_empty() {
            let token = HeaderValue::from_str(&format!("Bearer {}", self.token)).map_err(|e| invalid(&e))?;
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        switch(connection, request).await
    }

    /// A connection to the server in use, or to another where that gives none.
    async fn connect(&self) -> Result<(std::sync::Arc<Server>, Secured), Error> {
        let mut tried = Vec::new();
        let mut trouble = broken("no server is left");
        while let Some(server) = self.servers.next(&tried) {
            let uri = server.url.parse().map_err(|_| broken("a server without an address"))?;
            match self.upgrades.open(uri).await {
                Ok(connection) => return Ok((server, connection)),
                Err(error) => {
                    let message = format!("no answer from {}: {}", server.url, causes(&error));
                    trouble = Error::new(Reason::ServiceUnavailable, message);
                }
            }
            tried.push(server);
        }
        Err(trouble)
    }
}

async fn switch(connection: Secured, request: Request<Empty<Bytes>>) -> Result<Upgraded, Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(connection).await.map_err(|error| broken(&error))?;
    let asked = async { answered(sender.send_request(request).await.map_err(|error| broken(&error))?).await };
    let mut asked = std::pin::pin!(asked);
    // A connection that is upgraded is handed over by its driver, which so ends before the answer does.
    tokio::select! {
        biased;
        answer = asked.as_mut() => answer,
        _over = connection.with_upgrades() => asked.await,
    }
}

async fn answered(mut response: Response<Incoming>) -> Result<Upgraded, Error> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (status, body) = (response.status(), response.into_body());
        let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await.map_err(|error| broken(&*error))?;
        return Err(refusal(status, &body.to_bytes()));
    }
    let headers = std::mem::take(response.headers_mut());
    let io = hyper::upgrade::on(response).await.map_err(|error| broken(&error))?;
    Ok(Upgraded { headers, io: TokioIo::new(io) })
}
