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

/// An image that a container wants.
#[derive(Clone, Copy)]
pub struct ImageRequest<'a> {
    /// As the pod names it.
    pub reference: &'a str,
    /// When it is fetched: what it means in Kubernetes.
    pub policy: PullPolicy,
    /// The pod's logins at registries, in their order.
    pub logins: &'a [Login],
    /// Is told, in sentences, that the image is fetched and how far that is.
    pub progress: &'a (dyn Fn(String) + Send + Sync),
}

impl<'a> ImageRequest<'a> {
    /// A request by nobody in particular.
    pub fn new(reference: &'a str, policy: PullPolicy) -> Self {
        Self { reference, policy, logins: &[], progress: &|_| {} }
    }
}

/// A login at a registry, of an `imagePullSecret`.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The registry, as the secret names it: a host, or a URL.
    pub registry: String,
    /// Who.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("registry", &self.registry).field("user", &self.user).finish_non_exhaustive()
    }
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
