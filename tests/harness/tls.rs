//! TLS clients that trust one certificate only: a handshake that succeeds says which was presented.

use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::TlsConnector;

use crate::http::Answer;
use crate::outside::{Connection, connect};

/// A client's configuration that trusts this certificate (PEM), and speaks one protocol (ALPN).
fn config(certificate: &str, protocol: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// A connection for HTTP/1.1 over TLS to a server of that name; an error unless it presents this certificate.
pub fn https(port: u16, name: &str, certificate: &str) -> anyhow::Result<Connection> {
    let server = ServerName::try_from(name.to_owned())?;
    let mut client = ClientConnection::new(config(certificate, "http/1.1")?, server)?;
    let mut stream: TcpStream = connect(port)?;
    client.complete_io(&mut stream)?;
    Ok(Connection::over(StreamOwned::new(client, stream)))
}

/// `GET path` over HTTP/2, agreed on by ALPN, as often as there are paths, all at once on one connection.
pub async fn http2(port: u16, name: &str, certificate: &str, paths: &[&str]) -> anyhow::Result<Vec<Answer>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let server = ServerName::try_from(name.to_owned())?;
    let stream = TlsConnector::from(config(certificate, "h2")?).connect(server, stream).await?;
    let agreed = stream.get_ref().1.alpn_protocol().context("no protocol was agreed on")?;
    anyhow::ensure!(agreed == b"h2", "agreed on {}", String::from_utf8_lossy(agreed));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let asked = futures::future::try_join_all(paths.iter().map(|path| {
        let mut sender = sender.clone();
        async move {
            let request = http::Request::get(format!("https://{name}{path}")).body(Full::<Bytes>::default())?;
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
        }
    }));
    tokio::select! {
        answers = asked => answers,
        ended = connection => { ended?; anyhow::bail!("the connection ended") }
    }
}
