//! The request that asks for another protocol on its connection, and the answer `101 Switching Protocols`.

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// `Upgrade` for SPDY.
pub const SPDY: &str = "SPDY/3.1";
/// Where SPDY's clients offer what they speak over its streams, and its servers say what is spoken.
pub const STREAM_PROTOCOLS: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What carries the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// WebSocket messages (RFC 6455).
    WebSocket,
    /// SPDY/3.1 frames.
    Spdy,
}

/// What is spoken from now on.
#[derive(Debug)]
pub struct Agreed {
    /// What carries the streams.
    pub form: Form,
    /// What is spoken over them.
    pub protocol: &'static str,
    /// The answer that says so.
    pub head: Response<()>,
}

/// Why a request is answered otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 400.
    #[error("unable to upgrade: the request asks for neither WebSocket nor SPDY/3.1")]
    NoUpgrade,
    /// 403, as Kubernetes answers.
    #[error(
        "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{accepted}]"
    )]
    NoProtocol {
        /// What the client speaks.
        offered: String,
        /// What is spoken here.
        accepted: String,
    },
}

impl Refused {
    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoUpgrade => StatusCode::BAD_REQUEST,
            Self::NoProtocol { .. } => StatusCode::FORBIDDEN,
        }
    }
}

/// Agrees on a protocol with a client: the first of the server's, which are given for each form, that the client offers.
pub fn negotiate(
    method: &Method,
    headers: &HeaderMap,
    websocket: &[&'static str],
    spdy: &[&'static str],
) -> Result<Agreed, Refused> {
    if !words(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) {
        return Err(Refused::NoUpgrade);
    }
    let asks = |name: &str| words(headers, &UPGRADE).any(|word| word.eq_ignore_ascii_case(name));
    if asks("websocket") && method == Method::GET {
        let key = headers.get(SEC_WEBSOCKET_KEY).ok_or(Refused::NoUpgrade)?;
        let protocol = choose(words(headers, &SEC_WEBSOCKET_PROTOCOL), websocket)?;
        let mut head = switching("websocket", &SEC_WEBSOCKET_PROTOCOL, protocol);
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Refused::NoUpgrade)?;
        head.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
        return Ok(Agreed { form: Form::WebSocket, protocol, head });
    }
    if asks(SPDY) {
        let protocol = choose(words(headers, &STREAM_PROTOCOLS), spdy)?;
        return Ok(Agreed { form: Form::Spdy, protocol, head: switching(SPDY, &STREAM_PROTOCOLS, protocol) });
    }
    Err(Refused::NoUpgrade)
}

/// The headers with which a client asks for SPDY.
pub fn request_headers(protocol: &'static str) -> HeaderMap {
    switching(SPDY, &STREAM_PROTOCOLS, protocol).into_parts().0.headers
}

fn switching(upgrade: &'static str, name: &HeaderName, protocol: &'static str) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = head.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
    headers.insert(name, HeaderValue::from_static(protocol));
    head
}

fn choose<'a>(offered: impl Iterator<Item = &'a str>, accepted: &[&'static str]) -> Result<&'static str, Refused> {
    let offered: Vec<&str> = offered.collect();
    let found = accepted.iter().copied().find(|protocol| offered.contains(protocol));
    found.ok_or_else(|| Refused::NoProtocol { offered: offered.join(", "), accepted: accepted.join(", ") })
}

/// The words of a header that may come several times, each a list.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How `negotiate` answers to a request of these lines.
    fn answer(method: Method, lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        match negotiate(&method, &headers, &["v5", "v4"], &["v4", "v3"]) {
            Ok(agreed) => {
                let accept =
                    agreed.head.headers().get(SEC_WEBSOCKET_ACCEPT).map_or("", |value| value.to_str().unwrap());
                format!("{:?} {} {accept}", agreed.form, agreed.protocol)
            }
            Err(refused) => refused.status().as_u16().to_string(),
        }
    }

    #[test]
    fn the_servers_first_choice_is_taken() {
        let upgrade = ("connection", "keep-alive, Upgrade");
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let offers = [upgrade, ("upgrade", "websocket"), key, ("sec-websocket-protocol", "v4, v5")];
        // The accepted key is RFC 6455's own example.
        assert_eq!(answer(Method::GET, &offers), "WebSocket v5 s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer(Method::POST, &offers), "400");
        let mine = "x-stream-protocol-version";
        let spdy = [upgrade, ("upgrade", "SPDY/3.1"), (mine, "v5"), (mine, "v3"), (mine, "v4")];
        assert_eq!(answer(Method::POST, &spdy), "Spdy v4 ");
        assert_eq!(answer(Method::POST, &[upgrade, ("upgrade", "SPDY/3.1"), (mine, "v1")]), "403");
        assert_eq!(answer(Method::POST, &[("upgrade", "SPDY/3.1"), (mine, "v4")]), "400");
        assert_eq!(answer(Method::GET, &[upgrade, ("upgrade", "h2c")]), "400");
    }
}
