//! Whose a certificate is: what whoever was shown it reads out of it.

use rustls::CommonState;
use rustls::pki_types::CertificateDer;

/// Whom a certificate was issued to, and which one it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The common name.
    pub user: String,
    /// The organizations.
    pub groups: Vec<String>,
    /// The certificate's serial number, in hexadecimal digits.
    pub serial: String,
}

impl Holder {
    /// Of the certificate that the other end of a connection has shown, which TLS has verified; `None` where it has shown none,
    /// or one that names no user.
    pub fn of_peer(session: &CommonState) -> Option<Self> {
        Self::of(session.peer_certificates()?.first()?)
    }

    /// Of a certificate; `None` where it is none, or names no user.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let subject = parsed.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        let serial = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { user, groups, serial })
    }
}
