//! Headers at the border: what the pod learns of the client, and what goes no further than one connection.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri, Version};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Always of one connection only (RFC 9110, 7.6.1), besides what `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Who is at the other end of a connection, ready to be written into headers.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    ip_text: HeaderValue,
    proto: HeaderValue,
    port: HeaderValue,
}

impl Client {
    pub(crate) fn new(client: SocketAddr, local_port: u16, tls: bool) -> Self {
        let ip = client.ip().to_canonical();
        let text = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        let proto = HeaderValue::from_static(if tls { "https" } else { "http" });
        Self { ip, ip_text: text(ip.to_string()), proto, port: local_port.into() }
    }
}

/// The host that a request is for, without its port; empty where it names none.
pub(crate) fn host<B>(request: &Request<B>) -> &str {
    let named = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri().host().or_else(|| named().map(without_port)).unwrap_or_default()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether the client asks for another protocol on this connection, and which.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get(header::CONNECTION)?.to_str().ok()?;
    let upgrades = asked.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    if upgrades { headers.get(header::UPGRADE).cloned() } else { None }
}

/// Makes the client's request the ingress's own: origin form, HTTP/1.1, forwarded headers. What a client says of
/// itself in those headers is not believed.
pub(crate) fn prepare<B>(request: &mut Request<B>, client: &Client) {
    remove_hop_by_hop(request.headers_mut());
    if request.uri().authority().is_some() {
        to_origin_form(request);
    }
    *request.version_mut() = Version::HTTP_11;
    let host = request.headers().get(header::HOST).cloned();
    let headers = request.headers_mut();
    headers.reserve(5);
    headers.insert(X_FORWARDED_FOR, client.ip_text.clone());
    headers.insert(X_REAL_IP, client.ip_text.clone());
    headers.insert(X_FORWARDED_PROTO, client.proto.clone());
    headers.insert(X_FORWARDED_PORT, client.port.clone());
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.get(header::CONNECTION).cloned() {
        let names = named.to_str().unwrap_or_default().split(',');
        names.filter_map(|name| name.trim().parse::<HeaderName>().ok()).for_each(|name| drop(headers.remove(name)));
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn to_origin_form<B>(request: &mut Request<B>) {
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder =
            headers.iter().fold(Request::builder().uri(uri), |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap()
    }

    #[test]
    fn the_host_is_found_in_either_protocol() {
        let check = |uri: &str, headers: &[(&str, &str)], expected: &str| {
            assert_eq!(host(&request(uri, headers)), expected, "{uri} {headers:?}");
        };
        check("/", &[("host", "a.example:8080")], "a.example");
        check("/", &[("host", "a.example")], "a.example");
        check("/", &[("host", "[::1]:80")], "[::1]");
        check("/", &[], "");
        check("https://b.example:1/", &[], "b.example");
    }

    #[test]
    fn only_what_concerns_the_pod_passes() {
        let client = Client::new("192.0.2.7:4000".parse().unwrap(), 8443, true);
        let mut request = request(
            "https://b.example/p?q",
            &[
                ("connection", "close, x-secret"),
                ("x-secret", "1"),
                ("te", "gzip"),
                ("x-forwarded-for", "6.6.6.6"),
                ("accept", "*/*"),
            ],
        );
        prepare(&mut request, &client);
        let mut lines: Vec<String> =
            request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(request.uri(), "/p?q");
        assert_eq!(
            lines,
            [
                "accept: */*",
                "host: b.example",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: b.example",
                "x-forwarded-port: 8443",
                "x-forwarded-proto: https",
                "x-real-ip: 192.0.2.7",
            ]
        );
    }

    #[test]
    fn upgrades_are_asked_for_in_two_headers() {
        let check = |headers: &[(&str, &str)], expected: Option<&str>| {
            let found = upgrade(request("/", headers).headers());
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), expected);
        };
        check(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")], Some("websocket"));
        check(&[("upgrade", "websocket")], None);
        check(&[("connection", "upgrade")], None);
    }
}
