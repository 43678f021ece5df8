//! What a request to the API is, below the types of kinds: a resource, a name, a verb, and bytes.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use wherry_api::{Error, Resource, Revision};

/// Carries requests to an API server, in process or over HTTPS.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Carries out one request; the answer is the object, list or `Status`, encoded as JSON.
    async fn send(&self, request: Request) -> Result<Bytes, Error>;

    /// Opens a watch; it ends after an `Err`, or when the server closes it.
    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error>;
}

/// A watch below the types of kinds.
pub type RawWatch = BoxStream<'static, Result<RawEvent, Error>>;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which resource.
    pub resource: &'static Resource,
    /// The namespace; `None` for cluster scope or for all namespaces.
    pub namespace: Option<String>,
    /// The object's name; empty for list, create and deletecollection.
    pub name: String,
    /// `status`, `scale`, `binding`, …; empty for the object itself.
    pub subresource: &'static str,
    /// What to do.
    pub verb: Verb,
}

/// What to do with the object or collection.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a collection.
    List(ListOptions),
    /// Creates the object in the JSON body.
    Create(Bytes),
    /// Replaces by the JSON body.
    Update(Bytes),
    /// Changes by the body.
    Patch(PatchKind, Bytes),
    /// Deletes one object.
    Delete(DeleteOptions),
    /// Deletes a collection.
    DeleteCollection(ListOptions, DeleteOptions),
}

/// The content type of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
}

/// Which objects, and how many.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// A label selector; empty for all.
    pub labels: String,
    /// A field selector; empty for all.
    pub fields: String,
    /// At most this many; 0 for all.
    pub limit: usize,
    /// Where the last page ended; empty for the first.
    pub continue_token: String,
    /// The very revision to show, as far as the server's history reaches; the newest where none.
    pub exactly: Option<Revision>,
}

/// What a watch shows, and from where.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// A label selector; empty for all.
    pub labels: String,
    /// A field selector; empty for all.
    pub fields: String,
    /// Events after this revision; empty: from now.
    pub resource_version: String,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds to end in; `None` for the object's own.
    pub grace_period_seconds: Option<i64>,
    /// What happens to the objects that it owns.
    pub propagation: Propagation,
    /// What must hold for the deletion to go on.
    pub precondition: Precondition,
}

/// What happens to the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They follow, some time later.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// What must hold of the object that is changed; empty texts ask nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The very object.
    pub uid: String,
    /// The very version.
    pub resource_version: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new to this watch.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or no longer selected; the object is its last state.
    Deleted,
    /// Nothing happened up to this revision; the object holds only its `resourceVersion`.
    Bookmark,
}

/// One event of a watch, its object encoded as JSON.
#[derive(Clone, Debug)]
pub struct RawEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object.
    pub object: Bytes,
}
