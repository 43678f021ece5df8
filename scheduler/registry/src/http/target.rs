//! What a URL names.

use axum::http::Uri;

use crate::store::UploadId;
use crate::{Digest, Error, Reference, RepositoryName};

/// What a request is about.
#[derive(Debug)]
pub(super) enum Target {
    Base,
    Catalog(Page),
    Tags(RepositoryName, Page),
    Manifest(RepositoryName, Reference),
    Blob(Digest),
    /// A blob as this master has it, for other masters.
    Local(Digest),
    Uploads(RepositoryName, Begin),
    /// With the digest that ends it, if the query has one.
    Upload(RepositoryName, UploadId, Option<Digest>),
}

/// Which part of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// At most so many.
    pub(super) most: Option<usize>,
    /// Those after this one.
    pub(super) after: Option<String>,
}

/// What the start of an upload may carry.
#[derive(Debug)]
pub(super) struct Begin {
    /// The digest, where the body is the whole blob.
    pub(super) digest: Option<Digest>,
    /// A blob that another repository may have.
    pub(super) mount: Option<Digest>,
}

impl Target {
    pub(super) fn parse(uri: &Uri) -> Result<Self, Error> {
        let path = uri.path().strip_prefix("/v2").unwrap_or_default().trim_start_matches('/');
        let query = |name: &str| parameter(uri.query().unwrap_or_default(), name);
        let page = || Page { most: query("n").and_then(|n| n.parse().ok()), after: query("last") };
        let digest = |name: &str| query(name).map(|text| text.parse()).transpose();
        if path.is_empty() {
            return Ok(Self::Base);
        }
        if path == "_catalog" {
            return Ok(Self::Catalog(page()));
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name.parse()?, page()));
        }
        if let Some((name, id)) = path.rsplit_once("/blobs/uploads") {
            let name = name.parse()?;
            return match id.trim_start_matches('/') {
                "" => Ok(Self::Uploads(name, Begin { digest: digest("digest")?, mount: digest("mount")? })),
                id => Ok(Self::Upload(name, id.parse()?, digest("digest")?)),
            };
        }
        if let Some((name, reference)) = path.rsplit_once("/manifests/") {
            return Ok(Self::Manifest(name.parse()?, reference.parse()?));
        }
        let (name, blob) = path.rsplit_once("/blobs/").ok_or(Error::Unsupported)?;
        if name == "_local" {
            return Ok(Self::Local(blob.parse()?));
        }
        name.parse::<RepositoryName>()?;
        Ok(Self::Blob(blob.parse()?))
    }
}

/// A query parameter, its percent escapes undone.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| unescape(value)).next()
}

fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out: Vec<u8> = parts.next().unwrap_or_default().into();
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                out.push(byte);
                out.extend_from_slice(rest.as_bytes());
            }
            _ => {
                out.push(b'%');
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
