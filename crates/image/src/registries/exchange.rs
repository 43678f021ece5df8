//! One request to a server: over HTTPS, or in plain text to a registry of this machine; each wait for it has a limit.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use wherry_client::{Kubeconfig, TlsConnector, causes, pools, tls_config};

use crate::FetchError;

/// How long a registry may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Where Linux distributions keep the authorities that they trust: Debian, Fedora, Alpine.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// What a manifest may be. Linux images are asked for as well: to be told that it is one.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*";

/// An answer, whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Reads what is at an address; a body has so many bytes at most.
pub async fn get(
    certificates: &Path,
    at: &Uri,
    authorization: Option<&HeaderValue>,
    bytes_max: usize,
) -> Result<Answer, FetchError> {
    let mut request = Request::get(at).header(header::ACCEPT, ACCEPTED);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::new()).map_err(|e| unavailable(at, &e))?;
    let response = in_time(at, send(certificates, at, request)).await??;
    let (parts, body) = response.into_parts();
    Ok(Answer { status: parts.status, headers: parts.headers, body: whole(at, body, bytes_max).await? })
}

/// `https://`, but `http://` for a registry of this machine whose certificates are not known: as Docker and containerd have it.
pub async fn scheme(certificates: &Path, host: &str) -> &'static str {
    let is_known = tokio::fs::try_exists(certificates.join(host)).await.unwrap_or_default();
    if is_loopback(host) && !is_known { "http" } else { "https" }
}

/// Whether an address may be followed that a server at another has named: no less protected, and never another's loopback.
pub fn may_lead(from: &Uri, to: &Uri) -> bool {
    let is_plain = |uri: &Uri| uri.scheme_str() == Some("http");
    let is_here = |uri: &Uri| is_loopback(uri.authority().map_or("", |authority| authority.as_str()));
    to.scheme_str() == Some("https") || (is_plain(to) && is_plain(from) && is_here(to))
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

/// On a connection of its own: another server has other certificates.
async fn send(certificates: &Path, at: &Uri, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, FetchError> {
    let answered = if at.scheme_str() == Some("http") {
        pools().build(HttpConnector::new()).request(request).await
    } else {
        let host = at.authority().map_or("", |authority| authority.as_str());
        let mut tls = tls_config(&terms(&certificates.join(host)).await).map_err(|e| unavailable(at, &e))?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        pools().build(TlsConnector::new(tls)).request(request).await
    };
    answered.map_err(|e| unavailable(at, &causes(&e)))
}

/// Whom to trust as that host, and what to present there.
async fn terms(directory: &Path) -> Kubeconfig {
    let read = async |name: &str| tokio::fs::read_to_string(directory.join(name)).await.unwrap_or_default();
    let mut authority = read("ca.crt").await;
    for bundle in AUTHORITIES {
        if let Ok(text) = tokio::fs::read_to_string(bundle).await {
            authority.push_str(&text);
            break;
        }
    }
    let (certificate, key) = (read("client.cert").await, read("client.key").await);
    Kubeconfig { authority, certificate, key, ..Kubeconfig::default() }
}

async fn whole(at: &Uri, mut body: Incoming, bytes_max: usize) -> Result<Bytes, FetchError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = in_time(at, body.frame()).await? {
        let Ok(data) = frame.map_err(|e| unavailable(at, &causes(&e)))?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(unavailable(at, &format!("the answer has more than {bytes_max} bytes")));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn in_time<T>(at: &Uri, answer: impl Future<Output = T>) -> Result<T, FetchError> {
    let silent = |_| unavailable(at, &format!("nothing came for {} s", SILENCE_MAX.as_secs()));
    timeout(SILENCE_MAX, answer).await.map_err(silent)
}

/// The error of a server that does not do what was asked.
pub fn unavailable(at: &Uri, why: &(impl ToString + ?Sized)) -> FetchError {
    let host = at.host().unwrap_or_default();
    FetchError::Unavailable(format!("the registry at {host}: {}", why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_to_less_protection() {
        let check = |from: &str, to: &str, expected: bool| {
            assert_eq!(may_lead(&from.parse().unwrap(), &to.parse().unwrap()), expected, "{from} {to}");
        };
        check("https://a.example/x", "https://b.example/y", true);
        check("https://a.example/x", "http://a.example/y", false);
        check("https://a.example/x", "http://127.0.0.1/y", false);
        check("http://127.0.0.1:5000/x", "http://127.0.0.1:5001/y", true);
        check("http://localhost:5000/x", "http://a.example/y", false);
        check("http://localhost:5000/x", "https://a.example/y", true);
    }

    #[tokio::test]
    async fn registries_of_this_machine_need_no_certificates() {
        let certificates = tempfile::tempdir().unwrap();
        std::fs::create_dir(certificates.path().join("127.0.0.1:5000")).unwrap();
        for (host, expected) in [
            ("127.0.0.1:5000", "https"),
            ("127.0.0.1:5001", "http"),
            ("localhost", "http"),
            ("ghcr.io", "https"),
            ("127.evil.example", "https"),
        ] {
            assert_eq!(scheme(certificates.path(), host).await, expected, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_a_limit() {
        let at: Uri = "https://a.example/x".parse().unwrap();
        let late = in_time(&at, std::future::pending::<()>()).await.unwrap_err().to_string();
        assert_eq!(late, "the registry at a.example: nothing came for 60 s");
    }
}
