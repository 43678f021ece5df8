//! Which certificate a TLS client gets, by the name that it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use wherry_base::Clock;

use super::facts::certified_key;

/// The names of the certificate that is presented where no other fits.
const DEFAULT_NAMES: [&str; 3] = ["localhost", "*.localhost", "wherry.local"];

/// The certificates of all ingresses; they are exchanged without touching connections.
#[derive(Debug)]
pub(crate) struct Certificates {
    by_name: ArcSwap<Names>,
    default: Arc<CertifiedKey>,
}

/// Certificates by host, `*.` names included, in lower case.
pub(crate) type Names = HashMap<String, Arc<CertifiedKey>>;

/// The default certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making it failed.
    #[error("the ingress's default certificate cannot be made")]
    Generate(#[from] wherry_pki::PkiError),
    /// Reading it back failed.
    #[error("the ingress's default certificate cannot be used")]
    Unusable,
}

impl Certificates {
    /// Just a generated certificate.
    pub(crate) fn generate(clock: &dyn Clock) -> Result<Arc<Self>, CertificateError> {
        let issued = wherry_pki::self_signed("wherry ingress", &DEFAULT_NAMES.map(str::to_owned), clock.now())?;
        let key = certified_key(issued.certificate.as_bytes(), issued.key.as_bytes());
        let default = Arc::new(key.ok_or(CertificateError::Unusable)?);
        Ok(Arc::new(Self { by_name: ArcSwap::default(), default }))
    }

    pub(crate) fn store(&self, names: Names) {
        self.by_name.store(Arc::new(names));
    }

    /// The certificate for a name: its own, that of its wildcard, the default.
    pub(crate) fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let names = self.by_name.load();
        let wildcard = |name: &str| names.get(&format!("*.{}", name.split_once('.')?.1));
        let found = name.and_then(|name| names.get(name).or_else(|| wildcard(name)));
        Arc::clone(found.unwrap_or(&self.default))
    }

    /// A TLS server of HTTP/2 and HTTP/1.1.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
    }
}
