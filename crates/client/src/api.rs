//! Typed calls: a [`Client`] gives an [`Api`] for a kind, in a namespace or over all.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wherry_api::kinds::ObjectMeta;
use wherry_api::{Error, Kind, Reason};

use crate::resume::resumed;
use crate::transport::{
    DeleteOptions, EventKind, ListOptions, PatchKind, RawEvent, Request, Transport, Verb, WatchOptions,
};

/// A connection to an API server, cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

impl Client {
    /// A client over a transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    /// The calls of a kind over all namespaces (or of the cluster).
    pub fn all<K: Kind>(&self) -> Api<K> {
        Api { client: self.clone(), namespace: None, kind: PhantomData }
    }

    /// The calls of a kind in one namespace.
    pub fn namespaced<K: Kind>(&self, namespace: &str) -> Api<K> {
        Api { client: self.clone(), namespace: Some(namespace.to_owned()), kind: PhantomData }
    }

    /// Below the types of kinds.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }
}

/// The calls of one kind.
pub struct Api<K> {
    client: Client,
    namespace: Option<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), namespace: self.namespace.clone(), kind: PhantomData }
    }
}

/// A collection as it stood at one revision.
#[derive(Clone, Debug)]
pub struct List<K> {
    /// The objects, by namespace and name.
    pub items: Vec<K>,
    /// The revision, from which a watch goes on.
    pub resource_version: String,
    /// Where the next page begins; empty on the last.
    pub continue_token: String,
}

/// One event of a typed watch.
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// New or changed.
    Applied(K),
    /// Gone; its last state.
    Deleted(K),
    /// Nothing happened up to this revision.
    Bookmark(String),
}

#[derive(Deserialize)]
struct WireList<K> {
    metadata: WireListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<K>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: String,
}

#[derive(Deserialize)]
struct WireBookmark {
    metadata: ObjectMeta,
}

impl<K: Kind> Api<K> {
    /// Reads one object.
    pub async fn get(&self, name: &str) -> Result<K, Error> {
        self.one(name, "", Verb::Get).await
    }

    /// Reads a collection, or a page of it.
    pub async fn list(&self, options: ListOptions) -> Result<List<K>, Error> {
        let wire: WireList<K> = decode(&self.send("", "", Verb::List(options)).await?)?;
        Ok(List {
            items: wire.items,
            resource_version: wire.metadata.resource_version,
            continue_token: wire.metadata.continue_token,
        })
    }

    /// Creates an object.
    pub async fn create(&self, object: &K) -> Result<K, Error> {
        self.one("", "", Verb::Create(encode(object)?)).await
    }

    /// Replaces an object; its `resourceVersion`, if set, must be the present one.
    pub async fn update(&self, object: &K) -> Result<K, Error> {
        self.one(&object.key().name, "", Verb::Update(encode(object)?)).await
    }

    /// Replaces an object's status.
    pub async fn update_status(&self, object: &K) -> Result<K, Error> {
        self.one(&object.key().name, "status", Verb::Update(encode(object)?)).await
    }

    /// Merges `patch` (RFC 7386) into an object.
    pub async fn merge(&self, name: &str, patch: &impl Serialize) -> Result<K, Error> {
        self.one(name, "", Verb::Patch(PatchKind::Merge, encode(patch)?)).await
    }

    /// Merges `patch` (RFC 7386) into an object through its status subresource.
    pub async fn merge_status(&self, name: &str, patch: &impl Serialize) -> Result<K, Error> {
        self.one(name, "status", Verb::Patch(PatchKind::Merge, encode(patch)?)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str, options: DeleteOptions) -> Result<(), Error> {
        self.send(name, "", Verb::Delete(options)).await.map(drop)
    }

    /// Posts to a subresource, such as `binding`.
    pub async fn post(&self, name: &str, subresource: &'static str, body: &impl Serialize) -> Result<(), Error> {
        self.send(name, subresource, Verb::Create(encode(body)?)).await.map(drop)
    }

    /// Watches the collection.
    pub async fn watch(&self, options: WatchOptions) -> Result<BoxStream<'static, Result<Event<K>, Error>>, Error> {
        let raw = self.client.transport.watch(K::resource(), self.namespace.clone(), options).await?;
        Ok(raw.map(|event| event.and_then(|event| Event::decode(&event))).boxed())
    }

    /// Watches the collection, and goes on where it was after the watch broke off.
    pub fn follow(&self, options: WatchOptions) -> BoxStream<'static, Result<Event<K>, Error>> {
        let transport = Arc::clone(&self.client.transport);
        let raw = resumed(transport, K::resource(), self.namespace.clone(), options);
        raw.map(|event| event.and_then(|event| Event::decode(&event))).boxed()
    }

    async fn one(&self, name: &str, subresource: &'static str, verb: Verb) -> Result<K, Error> {
        decode(&self.send(name, subresource, verb).await?)
    }

    async fn send(&self, name: &str, subresource: &'static str, verb: Verb) -> Result<Bytes, Error> {
        let request = Request {
            resource: K::resource(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource,
            verb,
        };
        self.client.transport.send(request).await
    }
}

impl<K: Kind> Event<K> {
    fn decode(raw: &RawEvent) -> Result<Self, Error> {
        match raw.kind {
            EventKind::Added | EventKind::Modified => decode(&raw.object).map(Event::Applied),
            EventKind::Deleted => decode(&raw.object).map(Event::Deleted),
            EventKind::Bookmark => {
                let bookmark: WireBookmark = decode(&raw.object)?;
                Ok(Event::Bookmark(bookmark.metadata.resource_version.unwrap_or_default()))
            }
        }
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::new(Reason::InternalError, format!("unreadable answer: {e}")))
}

fn encode(body: &impl Serialize) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(body);
    bytes.map(Bytes::from).map_err(|e| Error::new(Reason::BadRequest, format!("body cannot be encoded: {e}")))
}
