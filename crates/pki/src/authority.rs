//! Making certificates.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::DnsName;

/// How far back a certificate's validity reaches, for clocks that differ.
const CLOCK_SKEW_HOURS: i64 = 1;
/// How long the authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// How long an issued certificate is valid.
const ISSUED_DAYS: i64 = 365;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A name that is neither a DNS name nor an address.
    #[error("\"{0}\" is neither a DNS name nor an IP address")]
    BadName(String),
    /// PEM text that holds no certificate or no key.
    #[error("cannot read {what}: {why}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// rustls refused the certificate.
    #[error("unusable certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, its issuer not included.
    pub certificate: String,
    /// The private key (PKCS#8).
    pub key: String,
}

/// Whom a certificate is for.
#[derive(Clone, Debug, Default)]
pub struct Subject<'a> {
    /// The common name: the user.
    pub user: &'a str,
    /// The organization: the group. One at most, for that is what rcgen writes.
    pub group: Option<&'a str>,
    /// DNS names and IP addresses, for a server; empty for a client.
    pub names: &'a [String],
}

/// The cluster's certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn generate(name: &str, now: jiff::Timestamp) -> Result<Self, PkiError> {
        Self::from_key(name, KeyPair::generate()?, now)
    }

    /// The authority of a stored key: its certificate is issued anew, with the same name and key, so that what it
    /// issued before stays valid.
    pub fn from_pem(name: &str, key: &str, now: jiff::Timestamp) -> Result<Self, PkiError> {
        Self::from_key(name, KeyPair::from_pem(key)?, now)
    }

    fn from_key(name: &str, key: KeyPair, now: jiff::Timestamp) -> Result<Self, PkiError> {
        let mut params = base_params(name, None, now, AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key)? })
    }

    /// The authority's certificate, as PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's private key, as PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a certificate for a server (where names are given) and client.
    pub fn issue(&self, subject: &Subject<'_>, now: jiff::Timestamp) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = base_params(subject.user, subject.group, now, ISSUED_DAYS)?;
        params.subject_alt_names = subject.names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !subject.names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A certificate that vouches for itself: what the ingress shows where no Secret fits.
pub fn self_signed(name: &str, names: &[String], now: jiff::Timestamp) -> Result<Issued, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = base_params(name, None, now, ISSUED_DAYS)?;
    params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn base_params(
    user: &str,
    group: Option<&str>,
    now: jiff::Timestamp,
    days: i64,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    params.distinguished_name = name;
    params.not_before = moment(now, -CLOCK_SKEW_HOURS);
    params.not_after = moment(now, days * 24);
    Ok(params)
}

/// `hours` from `now`, in the type that rcgen takes.
fn moment(now: jiff::Timestamp, hours: i64) -> time::OffsetDateTime {
    let seconds = now.as_second().saturating_add(hours * 3600);
    time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

fn alt_name(name: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let parent = name.strip_prefix("*.").unwrap_or(name);
    DnsName::try_from(parent).map_err(|_| PkiError::BadName(name.to_owned()))?;
    let dns = name.try_into().map_err(|_| PkiError::BadName(name.to_owned()))?;
    Ok(SanType::DnsName(dns))
}
