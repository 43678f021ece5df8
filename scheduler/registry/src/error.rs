//! What can go wrong, with the codes of the distribution specification.

use wherry_api::Reason;

use crate::{Digest, RepositoryName};

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a repository's name.
    #[error("{0:?} is no repository name: use lower-case letters, digits, and . _ - / between them")]
    NameInvalid(String),
    /// There is no such repository.
    #[error("there is no repository {0}")]
    NameUnknown(RepositoryName),
    /// Not a tag.
    #[error("{0:?} is no tag: use up to 128 letters, digits, and _ . -")]
    TagInvalid(String),
    /// Not a digest.
    #[error("{0:?} is no digest: sha256: and 64 hexadecimal digits are expected")]
    DigestInvalid(String),
    /// The content has another digest than was announced.
    #[error("the content has the digest {found}, not {announced}: it was damaged on the way")]
    DigestMismatch {
        /// What was announced.
        announced: Digest,
        /// What it is.
        found: Digest,
    },
    /// There is no such blob.
    #[error("there is no blob {0}")]
    BlobUnknown(Digest),
    /// A manifest refers to the blob.
    #[error("blob {0} is part of an image; remove the image first")]
    BlobInUse(Digest),
    /// There is no such upload: it ended, gave way to others, or the registry was started anew.
    #[error("there is no such upload; begin again")]
    UploadUnknown,
    /// Not the next chunk.
    #[error("the upload has {received} bytes, so the next chunk begins at {received}")]
    RangeInvalid {
        /// How many bytes there are.
        received: u64,
    },
    /// Larger than allowed.
    #[error("larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The client went away, or sent what HTTP does not allow.
    #[error("the body broke off: {0}")]
    Body(String),
    /// There is no such manifest.
    #[error("there is no image {0}")]
    ManifestUnknown(String),
    /// Not a manifest.
    #[error("not an image manifest: {0}")]
    ManifestInvalid(String),
    /// A manifest refers to what is not there.
    #[error("the manifest refers to {0}, which is not here; push it first")]
    ManifestBlobUnknown(Digest),
    /// No such route or method.
    #[error("the registry does not do this")]
    Unsupported,
    /// Too few masters have what was pushed.
    #[error("too few masters could take the image; try again when a majority of them is there")]
    NoMajority,
    /// What images are called could not be read or written.
    #[error("the records of images: {0}")]
    Records(#[from] wherry_api::Error),
    /// The file system refused.
    #[error("the registry's files: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The specification's code, and the HTTP status.
    pub(crate) fn code(&self) -> (&'static str, u16) {
        match self {
            Self::NameInvalid(_) => ("NAME_INVALID", 400),
            Self::NameUnknown(_) => ("NAME_UNKNOWN", 404),
            Self::TagInvalid(_) => ("MANIFEST_INVALID", 400),
            Self::DigestInvalid(_) | Self::DigestMismatch { .. } => ("DIGEST_INVALID", 400),
            Self::BlobUnknown(_) => ("BLOB_UNKNOWN", 404),
            Self::BlobInUse(_) => ("UNSUPPORTED", 405),
            Self::UploadUnknown => ("BLOB_UPLOAD_UNKNOWN", 404),
            Self::RangeInvalid { .. } => ("BLOB_UPLOAD_INVALID", 416),
            Self::TooLarge { .. } => ("SIZE_INVALID", 413),
            Self::Body(_) => ("BLOB_UPLOAD_INVALID", 400),
            Self::ManifestUnknown(_) => ("MANIFEST_UNKNOWN", 404),
            Self::ManifestInvalid(_) => ("MANIFEST_INVALID", 400),
            Self::ManifestBlobUnknown(_) => ("MANIFEST_BLOB_UNKNOWN", 404),
            Self::Unsupported => ("UNSUPPORTED", 404),
            Self::NoMajority => ("UNKNOWN", 503),
            Self::Records(error) => match error.reason {
                Reason::RequestEntityTooLarge | Reason::Invalid => ("SIZE_INVALID", 413),
                Reason::ServiceUnavailable | Reason::Timeout | Reason::TooManyRequests => ("UNKNOWN", 503),
                _ => ("UNKNOWN", 500),
            },
            Self::Io(_) => ("UNKNOWN", 500),
        }
    }
}
