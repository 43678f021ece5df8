//! Certificate signing requests (PKCS#10): written by who needs a certificate, read by who signs it.

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, KeyPair, PublicKey, SanType,
};

use crate::authority::{PkiError, Subject, alt_name};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// `client auth`.
    Client,
    /// `server auth`.
    Server,
}

/// What somebody asks to have signed. The key that it is about has signed it.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    /// The common name: the user.
    pub user: String,
    /// The organization: the group.
    pub group: Option<String>,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    pub(crate) public_key: PublicKey,
}

impl SigningRequest {
    /// Reads a request, and finds it to be signed by its own key. What else it asks for (usages, extensions) is for the
    /// signer to say, and not read.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let read = CertificateSigningRequestParams::from_pem(pem);
        let CertificateSigningRequestParams { params, public_key } =
            read.map_err(|e| PkiError::Request(e.to_string()))?;
        let text = |kind| params.distinguished_name.get(&kind).and_then(text);
        let user = text(DnType::CommonName).ok_or_else(|| PkiError::Request("it names no user".into()))?;
        let group = text(DnType::OrganizationName);
        let names = params.subject_alt_names.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Self { user, group, names, public_key })
    }
}

/// A new private key, as PEM.
pub fn new_key() -> Result<String, PkiError> {
    Ok(KeyPair::generate()?.serialize_pem())
}

/// Asks for a certificate of a key, as PEM.
pub fn request(key: &str, subject: &Subject<'_>) -> Result<String, PkiError> {
    let key = KeyPair::from_pem(key)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut name = DistinguishedName::new();
    if let Some(group) = subject.group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, subject.user);
    params.distinguished_name = name;
    params.subject_alt_names = subject.names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
    Ok(params.serialize_request(&key)?.pem()?)
}

fn text(value: &DnValue) -> Option<String> {
    match value {
        DnValue::Utf8String(text) => Some(text.clone()),
        DnValue::PrintableString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn name(name: &SanType) -> Result<String, PkiError> {
    match name {
        SanType::DnsName(name) => Ok(name.as_str().to_owned()),
        SanType::IpAddress(address) => Ok(address.to_string()),
        _ => Err(PkiError::Request("it has names that are neither DNS names nor IP addresses".into())),
    }
}
