//! Images, as far as the agent sees them.

use wherry_api::Login;

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

/// An image that a container wants.
#[derive(Clone, Copy)]
pub struct ImageRequest<'a> {
    /// As the pod names it.
    pub reference: &'a str,
    /// When it is fetched: what it means in Kubernetes.
    pub policy: PullPolicy,
    /// The pod's logins at registries, in their order.
    pub logins: &'a [Login],
    /// Is told how it goes.
    pub tell: &'a (dyn Fn(Fetch) + Send + Sync),
}

impl<'a> ImageRequest<'a> {
    /// A request by nobody in particular.
    pub fn new(reference: &'a str, policy: PullPolicy) -> Self {
        Self { reference, policy, logins: &[], tell: &|_| {} }
    }
}

/// How it goes to make an image ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// It is being fetched; said once or more often.
    Begun,
    /// How far that is, in a sentence.
    Underway(String),
    /// The image is ready, whether or not it had to be fetched; its size.
    Done {
        /// In bytes.
        size_bytes: u64,
    },
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
    /// `ErrImageInspect`: there, but nothing that can be run here (which import, which world), or there is nothing to run it.
    #[error("{0}")]
    Unusable(String),
    /// `ErrImageInspect`: there, but for another kind of runtime: a Linux image, or a module.
    #[error("{0}")]
    OtherKind(String),
}

impl ImageError {
    /// The word in `reason`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NeverPull(_) => "ErrImageNeverPull",
            Self::Pull(_) => "ErrImagePull",
            Self::BadName(_) => "InvalidImageName",
            Self::Unusable(_) | Self::OtherKind(_) => "ErrImageInspect",
        }
    }
}
