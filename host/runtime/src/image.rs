//! Images, as far as the agent sees them.

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Asked for at each start, fetched where the digest differs.
    Always,
    /// Fetched where it is not on the node.
    IfNotPresent,
    /// Must be on the node.
    Never,
}

/// An image that is ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As the pod names it.
    pub reference: String,
    /// `sha256:…` of the artifact.
    pub digest: String,
    /// What it is.
    pub kind: ImageKind,
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// Runs until it exits.
    Command,
    /// Answers HTTP requests.
    Http,
}

/// Why an image is not ready: `reason` and `message` of the waiting container.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// `ErrImageNeverPull`.
    #[error("Container image \"{0}\" is not present with pull policy of Never")]
    NeverPull(String),
    /// `ErrImagePull`, later `ImagePullBackOff`: not there, or not to be had now.
    #[error("{0}")]
    Pull(String),
    /// `InvalidImageName`.
    #[error("Failed to apply default image tag \"{0}\": couldn't parse image name")]
    BadName(String),
    /// `ErrImageInspect`: there, but nothing that this runtime can run (which import, which world).
    #[error("{0}")]
    Unusable(String),
}

impl ImageError {
    /// The word in `reason`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NeverPull(_) => "ErrImageNeverPull",
            Self::Pull(_) => "ErrImagePull",
            Self::BadName(_) => "InvalidImageName",
            Self::Unusable(_) => "ErrImageInspect",
        }
    }
}
