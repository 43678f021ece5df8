//! rustls configurations from PEM texts.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::authority::PkiError;
use crate::live::LiveCertificate;

/// A server that presents `own` and asks for client certificates of `authority`; a client without one is let in as
/// anonymous where `anonymous` is true. Speaks HTTP/2 and HTTP/1.1.
pub fn server_config(own: &Arc<LiveCertificate>, authority: &str, anonymous: bool) -> Result<ServerConfig, PkiError> {
    let roots = Arc::new(roots(authority)?);
    let verifier = WebPkiClientVerifier::builder(roots);
    let verifier = if anonymous { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|e| unreadable("the authority's certificate", &e))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(own) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client that trusts `authority` and presents `own`.
pub fn client_config(own: &Arc<LiveCertificate>, authority: &str) -> Result<ClientConfig, PkiError> {
    let config = ClientConfig::builder()
        .with_root_certificates(roots(authority)?)
        .with_client_cert_resolver(Arc::clone(own) as Arc<dyn ResolvesClientCert>);
    Ok(config)
}

fn roots(authority: &str) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|e| unreadable("a certificate", &e))?;
    if read.is_empty() { Err(unreadable("a certificate", &"the text holds none")) } else { Ok(read) }
}

pub(crate) fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| unreadable("a private key", &e))
}

fn unreadable(what: &'static str, why: &dyn std::fmt::Display) -> PkiError {
    PkiError::Read { what, why: why.to_string() }
}
