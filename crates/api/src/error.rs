//! Errors of the API: each one is a Kubernetes `Status` with the reason and code that client-go acts on.
//!
//! Follows `k8s.io/apimachinery/pkg/api/errors`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};

/// Why a request failed: `Status.reason`, each with its HTTP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// 400: the request itself cannot be understood.
    BadRequest,
    /// 401: no credential, or none that is known.
    Unauthorized,
    /// 403: the credential does not allow it.
    Forbidden,
    /// 404: no such object, or no such resource.
    NotFound,
    /// 405: the resource has no such verb.
    MethodNotAllowed,
    /// 406: no encoding that the client accepts.
    NotAcceptable,
    /// 409: an object of that name exists.
    AlreadyExists,
    /// 409: the object has changed since the client read it.
    Conflict,
    /// 410: the revision is older than the history.
    Expired,
    /// 413: the body is too large.
    RequestEntityTooLarge,
    /// 415: a body of a type that the server does not read.
    UnsupportedMediaType,
    /// 422: the object is not valid.
    Invalid,
    /// 429: try again later.
    TooManyRequests,
    /// 500: our fault.
    InternalError,
    /// 503: cannot serve now (a full disk, no leader).
    ServiceUnavailable,
    /// 504: the other side (a kubelet) took too long.
    Timeout,
}

impl Reason {
    /// The HTTP status code.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The word in `Status.reason`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }

    const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Expired,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];

    /// The reason of a `Status`; an unknown word counts as `InternalError`.
    pub fn of(status: &Status) -> Self {
        let word = status.reason.as_deref().unwrap_or_default();
        Self::ALL.into_iter().find(|reason| reason.word() == word).unwrap_or(Self::InternalError)
    }
}

/// One fault of an object: what is wrong (`FieldValueInvalid`, …), where (`spec.containers[0].image`), and how to mend it.
///
/// Follows `k8s.io/apimachinery/pkg/util/validation/field`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The machine-readable word, such as `FieldValueRequired`.
    pub reason: &'static str,
    /// The path of the field.
    pub field: String,
    /// A sentence for a person, without the path.
    pub message: String,
}

/// A failed request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Why, for the program.
    pub reason: Reason,
    /// What, where and what to do, for the person.
    pub message: String,
    /// The object or resource in question.
    pub about: Option<Box<About>>,
    /// All faults, where the object is `Invalid`.
    pub causes: Vec<Cause>,
    /// Seconds to wait before trying again.
    pub retry_after_seconds: Option<u16>,
    /// For a list in pages that has expired: how to read the rest all the same. Empty for none.
    pub continue_token: String,
}

/// What a client notes where the machine was reached and nobody listened there: it is never sent.
const REFUSED: &str = "ConnectionRefused";

/// What is said where the server has done nothing, and another one may: it does not lead, or was not reached.
const UNDONE: &str = "NotTheLeader";

/// What an error is about: the fields of `Status.details`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The API group; empty for core.
    pub group: String,
    /// The kind or the plural, as Kubernetes has it for that error.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// The object's uid, where known.
    pub uid: String,
}

impl Error {
    /// An error without details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            about: None,
            causes: Vec::new(),
            retry_after_seconds: None,
            continue_token: String::new(),
        }
    }

    /// No answer, for nobody listens at the server's address.
    pub fn refusal(message: impl Into<String>) -> Self {
        let cause = Cause { reason: REFUSED, field: String::new(), message: String::new() };
        Self { causes: vec![cause], ..Self::new(Reason::ServiceUnavailable, message) }
    }

    /// Whether it is [`Self::refusal`].
    pub fn is_refusal(&self) -> bool {
        self.causes.iter().any(|cause| cause.reason == REFUSED)
    }

    /// Nothing was done here, and may be done by another server: this one does not lead, or was not reached.
    pub fn undone(message: impl Into<String>) -> Self {
        Self { causes: vec![undone()], ..Self::new(Reason::ServiceUnavailable, message) }
    }

    /// Whether nothing was done, so that the request can be made again whatever it is.
    pub fn is_undone(&self) -> bool {
        self.causes.iter().any(|cause| matches!(cause.reason, REFUSED | UNDONE))
    }

    /// The same error, about an object of the resource `plural.group`.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.about = Some(Box::new(About {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        }));
        self
    }

    /// The error as the object that goes over the wire.
    pub fn to_status(&self) -> Status {
        let about = self.about.as_deref().cloned().unwrap_or_default();
        let text = |s: String| Some(s).filter(|s| !s.is_empty());
        let causes: Vec<StatusCause> = self.causes.iter().map(Cause::to_status).collect();
        Status {
            metadata: ListMeta { continue_: text(self.continue_token.clone()), ..ListMeta::default() },
            status: Some("Failure".into()),
            message: Some(self.message.clone()),
            reason: Some(self.reason.word().into()),
            code: Some(i32::from(self.reason.code())),
            details: Some(StatusDetails {
                group: text(about.group),
                kind: text(about.kind),
                name: text(about.name),
                uid: text(about.uid),
                causes: Some(causes).filter(|c| !c.is_empty()),
                retry_after_seconds: self.retry_after_seconds.map(i32::from),
            }),
        }
    }

    /// The error that a remote server's `Status` tells.
    pub fn from_status(status: &Status) -> Self {
        let mut error = Self::new(Reason::of(status), status.message.clone().unwrap_or_default());
        error.continue_token = status.metadata.continue_.clone().unwrap_or_default();
        if let Some(details) = &status.details {
            let text = |s: &Option<String>| s.clone().unwrap_or_default();
            error = error.about(&text(&details.group), &text(&details.kind), &text(&details.name));
            error.retry_after_seconds = details.retry_after_seconds.and_then(|seconds| u16::try_from(seconds).ok());
            let mut causes = details.causes.iter().flatten();
            if causes.any(|cause| cause.reason.as_deref() == Some(UNDONE)) {
                error.causes.push(undone());
            }
        }
        error
    }
}

const fn undone() -> Cause {
    Cause { reason: UNDONE, field: String::new(), message: String::new() }
}

impl Cause {
    fn to_status(&self) -> StatusCause {
        StatusCause {
            reason: Some(self.reason.to_owned()),
            field: Some(self.field.clone()),
            message: Some(self.message.clone()),
        }
    }
}
