//! A certificate that is replaced while connections are made with it: rustls asks for it at each handshake.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, crypto};

use crate::authority::{Issued, PkiError};
use crate::tls::{certificates, private_key};
use crate::validity::Validity;

/// A certificate and its key; none at first, where it is still to be issued: until then handshakes fail.
#[derive(Default)]
pub struct LiveCertificate {
    current: ArcSwapOption<Held>,
    /// Shown by a server as long as there is no other.
    stand_in: Option<Arc<CertifiedKey>>,
}

struct Held {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl LiveCertificate {
    /// With a first certificate.
    pub fn of(issued: &Issued) -> Result<Arc<Self>, PkiError> {
        let live = Self::default();
        live.replace(issued)?;
        Ok(Arc::new(live))
    }

    /// Still to be issued, but a server shows `stand_in` meanwhile.
    pub fn awaited(stand_in: &Issued) -> Result<Arc<Self>, PkiError> {
        let stand_in = Some(Held::of(stand_in)?.key);
        Ok(Arc::new(Self { stand_in, ..Self::default() }))
    }

    /// From now on, handshakes use this one.
    pub fn replace(&self, issued: &Issued) -> Result<(), PkiError> {
        self.current.store(Some(Arc::new(Held::of(issued)?)));
        Ok(())
    }

    /// From when to when the present one is valid; `None` while there is none.
    pub fn validity(&self) -> Option<Validity> {
        self.current.load().as_ref().map(|held| held.validity)
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.current.load().as_ref().map(|held| Arc::clone(&held.key))
    }
}

impl Held {
    fn of(issued: &Issued) -> Result<Self, PkiError> {
        let chain = certificates(&issued.certificate)?;
        let validity = chain.first().and_then(|leaf| validity_of(leaf));
        let validity = validity.ok_or_else(|| unreadable("its validity is unreadable"))?;
        let provider =
            CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(crypto::aws_lc_rs::default_provider()));
        let key = Arc::new(CertifiedKey::from_der(chain, private_key(&issued.key)?, &provider)?);
        Ok(Self { key, validity })
    }
}

impl fmt::Debug for LiveCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveCertificate").field("validity", &self.validity()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for LiveCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key().or_else(|| self.stand_in.clone())
    }
}

impl ResolvesClientCert for LiveCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key()
    }

    fn has_certs(&self) -> bool {
        self.current.load().is_some()
    }
}

fn validity_of(certificate: &[u8]) -> Option<Validity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let moment = |at: x509_parser::time::ASN1Time| jiff::Timestamp::from_second(at.timestamp()).ok();
    let validity = parsed.validity();
    Some(Validity { from: moment(validity.not_before)?, until: moment(validity.not_after)? })
}

fn unreadable(why: &str) -> PkiError {
    PkiError::Read { what: "a certificate", why: why.to_owned() }
}
