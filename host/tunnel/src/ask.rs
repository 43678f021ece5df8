//! What is asked over a tunnel, and how it is answered: the words of the protocol, checked where they are read.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use wherry_api::routes::{RELAY, RELAY_TO};
use wherry_vnet::DialError;

/// The header that names the client: the address of a pod of the node that asks, or of that node itself.
const CLIENT: &str = "wherry-client";
/// The authority under which datagrams are carried, of whatever pods.
const DATAGRAMS: &str = "datagrams:0";

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A connection to a pod.
    Connection {
        /// The client.
        from: SocketAddr,
        /// The pod's address and port.
        to: SocketAddr,
    },
    /// Datagrams, from the node that asks to the one that is asked.
    Datagrams,
    /// A connection to the endpoints of the node of that name: of the one that is asked, or of another to which it passes it on.
    Relay(String),
}

impl Ask {
    /// The request that asks for this.
    pub(crate) fn request(self) -> Result<Request<()>, http::Error> {
        let request = Request::builder().method(Method::CONNECT);
        match self {
            Self::Connection { from, to } => {
                request.uri(Uri::builder().authority(to.to_string()).build()?).header(CLIENT, from.to_string())
            }
            Self::Datagrams => request.uri(Uri::builder().authority(DATAGRAMS).build()?),
            Self::Relay(node) => request.uri(Uri::builder().authority(RELAY).build()?).header(RELAY_TO, node),
        }
        .body(())
    }

    /// What a request asks for.
    pub(crate) fn read<B>(request: &Request<B>) -> Result<Self, StatusCode> {
        if request.method() != Method::CONNECT {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let authority = request.uri().authority().ok_or(StatusCode::BAD_REQUEST)?.as_str();
        if authority == DATAGRAMS {
            return Ok(Self::Datagrams);
        }
        let header = |name| request.headers().get(name).map(HeaderValue::to_str);
        if authority == RELAY {
            let Some(Ok(node)) = header(RELAY_TO) else { return Err(StatusCode::BAD_REQUEST) };
            return Ok(Self::Relay(node.to_owned()));
        }
        let (Some(Ok(client)), Ok(to)) = (header(CLIENT), authority.parse()) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let from = client.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok(Self::Connection { from, to })
    }
}

/// How the failure of a connection is answered.
pub(crate) const fn status_of(error: &DialError) -> StatusCode {
    match error {
        DialError::Refused => StatusCode::BAD_GATEWAY,
        DialError::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        DialError::Unreachable | DialError::PeerUnreachable | DialError::Denied => StatusCode::NOT_FOUND,
        DialError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What an answer means.
pub(crate) fn outcome_of<B>(response: &Response<B>) -> Result<(), DialError> {
    match response.status() {
        StatusCode::OK => Ok(()),
        StatusCode::BAD_GATEWAY => Err(DialError::Refused),
        StatusCode::SERVICE_UNAVAILABLE => Err(DialError::Overloaded),
        _ => Err(DialError::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_what_is_read() {
        let (from, to) = ("10.128.0.2:40000".parse().unwrap(), "[fd00::2]:80".parse().unwrap());
        for ask in [Ask::Connection { from, to }, Ask::Datagrams, Ask::Relay("n-2.example".into())] {
            assert_eq!(Ask::read(&ask.clone().request().unwrap()), Ok(ask));
        }
    }

    #[test]
    fn what_asks_for_nothing_is_refused() {
        let check = |method: Method, uri: &str, client: Option<&str>, expected: StatusCode| {
            let mut request = Request::builder().method(method).uri(uri);
            if let Some(client) = client {
                request = request.header(CLIENT, client);
            }
            assert_eq!(Ask::read(&request.body(()).unwrap()), Err(expected), "{uri} {client:?}");
        };
        check(Method::GET, "http://10.128.0.2:80/", Some("10.129.0.2:1"), StatusCode::METHOD_NOT_ALLOWED);
        check(Method::CONNECT, "web.default:80", Some("10.129.0.2:1"), StatusCode::BAD_REQUEST);
        check(Method::CONNECT, "10.128.0.2", Some("10.129.0.2:1"), StatusCode::BAD_REQUEST);
        check(Method::CONNECT, "10.128.0.2:80", Some("10.129.0.2"), StatusCode::BAD_REQUEST);
        check(Method::CONNECT, "10.128.0.2:80", None, StatusCode::BAD_REQUEST);
        check(Method::CONNECT, "relay:0", None, StatusCode::BAD_REQUEST);
    }
}
