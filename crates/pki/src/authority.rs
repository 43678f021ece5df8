//! Making certificates.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::DnsName;

use crate::request::{SigningRequest, Usage};
use crate::validity::Validity;

/// How long the authority is valid.
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// How long a certificate is valid that vouches for itself.
const SELF_SIGNED_LIFE: Duration = Duration::from_hours(365 * 24);

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A name that is neither a DNS name nor an address.
    #[error("\"{0}\" is neither a DNS name nor an IP address")]
    BadName(String),
    /// A request that asks for what is never signed, or that its own key did not sign.
    #[error("the certificate signing request cannot be used: {0}")]
    Request(String),
    /// PEM text that holds no certificate or no key.
    #[error("cannot read {what}: {why}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The machine gives no random numbers.
    #[error("no random numbers are to be had")]
    Random,
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
        let mut params = base_params(name, None, Validity::of(now, AUTHORITY_LIFE))?;
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
    pub fn issue(&self, subject: &Subject<'_>, validity: Validity) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = base_params(subject.user, subject.group, validity)?;
        params.subject_alt_names = subject.names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !subject.names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = self.sign(params, &key)?;
        Ok(Issued { certificate, key: key.serialize_pem() })
    }

    /// Issues the certificate that somebody asks for, for one usage. Whether they may have it is not decided here.
    pub fn grant(&self, request: &SigningRequest, usage: Usage, validity: Validity) -> Result<String, PkiError> {
        let mut params = base_params(&request.user, request.group.as_deref(), validity)?;
        params.subject_alt_names = request.names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![match usage {
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        self.sign(params, &request.public_key)
    }

    fn sign(&self, mut params: CertificateParams, key: &impl PublicKeyData) -> Result<String, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

/// A certificate that vouches for itself: what the ingress shows where no Secret fits.
pub fn self_signed(name: &str, names: &[String], now: jiff::Timestamp) -> Result<Issued, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = base_params(name, None, Validity::of(now, SELF_SIGNED_LIFE))?;
    params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn base_params(user: &str, group: Option<&str>, validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    params.distinguished_name = name;
    params.not_before = moment(validity.from);
    params.not_after = moment(validity.until);
    Ok(params)
}

/// A moment in the type that rcgen takes.
fn moment(at: jiff::Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn alt_name(name: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let parent = name.strip_prefix("*.").unwrap_or(name);
    DnsName::try_from(parent).map_err(|_| PkiError::BadName(name.to_owned()))?;
    let dns = name.try_into().map_err(|_| PkiError::BadName(name.to_owned()))?;
    Ok(SanType::DnsName(dns))
}
