//! Trust in a server of which no more is known than the hash of its authority's public key: who joins a cluster has no
//! certificate of it yet. The server shows its authority's certificate beside its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::authority::PkiError;
use crate::tls::certificates;
use crate::token::KeyHash;

/// Believes servers of one authority, known by the hash of its public key.
#[derive(Debug)]
pub struct PinnedAuthority {
    hash: KeyHash,
    found: OnceLock<(CertificateDer<'static>, Arc<WebPkiServerVerifier>)>,
    refused: AtomicBool,
}

impl PinnedAuthority {
    /// Nothing is believed yet but what has this hash.
    pub fn new(hash: KeyHash) -> Arc<Self> {
        Arc::new(Self { hash, found: OnceLock::new(), refused: AtomicBool::new(false) })
    }

    /// A client without a certificate that believes such servers only.
    pub fn client_config(self: &Arc<Self>) -> ClientConfig {
        let verifier = Arc::clone(self) as Arc<dyn ServerCertVerifier>;
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    }

    /// The authority's certificate, as PEM, once a server has shown it.
    pub fn certificate(&self) -> Option<String> {
        let (certificate, _) = self.found.get()?;
        Some(pem::encode(&pem::Pem::new("CERTIFICATE", certificate.as_ref())))
    }

    /// Whether a server has shown another authority.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn verifier(&self, shown: &[CertificateDer<'_>]) -> Result<&WebPkiServerVerifier, Error> {
        if let Some((_, verifier)) = self.found.get() {
            return Ok(verifier);
        }
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let Some(own) = shown.iter().find(|certificate| hash_of(certificate) == Some(self.hash)) else {
            self.refused.store(true, Ordering::Relaxed);
            return Err(unknown());
        };
        let own = own.clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(own.clone())?;
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|_| unknown())?;
        Ok(&self.found.get_or_init(|| (own, verifier)).1)
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier(intermediates)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier(&[])?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier(&[])?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The hash of the public key of an authority's certificate, as PEM.
pub fn key_hash(authority: &str) -> Result<KeyHash, PkiError> {
    let fault = || PkiError::Read { what: "the authority's certificate", why: "it has no public key".into() };
    certificates(authority)?.first().and_then(|certificate| hash_of(certificate)).ok_or_else(fault)
}

fn hash_of(certificate: &[u8]) -> Option<KeyHash> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let hash = digest::digest(&digest::SHA256, parsed.public_key().raw);
    hash.as_ref().try_into().ok().map(KeyHash)
}
