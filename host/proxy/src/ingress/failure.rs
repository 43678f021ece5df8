//! Answers of the ingress itself: a status and a sentence in plain text.

use http::{HeaderValue, Response, StatusCode, header};
use wherry_api::ObjectKey;

use super::body::Outgoing;

/// Why a request got no answer from a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the ingress is no forward proxy: CONNECT is not served")]
    Connect,
    #[error("no ingress rule matches this host and path")]
    NoRule,
    #[error("service {0} does not exist or has no such port")]
    NoService(ObjectKey),
    #[error("service {0} has no ready endpoint")]
    NoEndpoint(ObjectKey),
    #[error("no endpoint of service {0} took the connection")]
    NotConnected(ObjectKey),
    #[error("the endpoint of service {0} ended before it answered")]
    Broken(ObjectKey),
    #[error("service {0} did not answer in time")]
    TimedOut(ObjectKey),
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRule => StatusCode::NOT_FOUND,
            Self::NoService(_) | Self::NoEndpoint(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotConnected(_) | Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(crate) fn response(&self) -> Response<Outgoing> {
        let status = self.status();
        let mut response = Response::new(Outgoing::text(format!("{status}: {self}\n")));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }
}
