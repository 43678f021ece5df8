//! The client of an OCI registry, as far as modules and loaded Linux images need it. Follows the OCI distribution specification 1.1.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use wherry_api::Login;
use wherry_client::Https;

use crate::artifact::{Artifact, MANIFEST_TYPE, digest};
use crate::{BlobStream, Content, FetchError, ImageSource, LinuxImage, LinuxSource, Reference};

/// How much of a large blob is sent at once, in bytes.
const CHUNK_BYTES: usize = 8 << 20;
/// The media type of pieces.
const BYTES_TYPE: &str = "application/octet-stream";
/// How often a push is begun.
const PUSH_TRIES: u32 = 3;

/// A registry's client.
pub struct RegistryClient {
    https: Arc<Https>,
}

/// One image of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `NAME:TAG`.
    pub name: String,
    /// The manifest's digest.
    pub digest: String,
}

/// A piece of an image that is to be pushed, and that need not fit into memory.
pub trait Blob: Send {
    /// `sha256:…`.
    fn digest(&self) -> &str;

    /// The next part of it, of so many bytes at most; an empty one is the end.
    fn next(&mut self, bytes_max: usize) -> io::Result<Bytes>;
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// A client over connections that are authenticated already.
    pub const fn new(https: Arc<Https>) -> Self {
        Self { https }
    }

    /// Puts a module into the registry under a name. The manifest comes last: no reader sees half an image. Where a master is
    /// lost half-way it is done again: the next one may lack what that one had.
    pub async fn push(&self, reference: &Reference, module: Bytes) -> Result<(), FetchError> {
        let mut tries_left = PUSH_TRIES;
        loop {
            tries_left -= 1;
            match self.push_once(reference, module.clone()).await {
                Err(_) if tries_left > 0 => {}
                pushed => return pushed,
            }
        }
    }

    async fn push_once(&self, reference: &Reference, module: Bytes) -> Result<(), FetchError> {
        let artifact = Artifact::of(&module);
        self.put_blob(reference, &artifact.layer_digest, module).await?;
        self.put_blob(reference, &artifact.config_digest, artifact.config).await?;
        let path = manifest_path(reference);
        self.exchange(Method::PUT, &path, Some(MANIFEST_TYPE), artifact.manifest).await.map(drop)
    }

    /// Puts a Linux image into the registry under a name: its pieces, then its manifest.
    pub async fn push_linux(
        &self,
        reference: &Reference,
        image: &LinuxImage,
        config: Bytes,
        layers: impl IntoIterator<Item = impl Blob>,
    ) -> Result<(), FetchError> {
        self.put_blob(reference, &image.config.digest, config).await?;
        for layer in layers {
            self.put_in_chunks(reference, layer).await?;
        }
        self.exchange(Method::PUT, &manifest_path(reference), Some(MANIFEST_TYPE), image.manifest()).await.map(drop)
    }

    /// All images.
    pub async fn list(&self) -> Result<Vec<Listed>, FetchError> {
        let catalog: Catalog = self.read("/v2/_catalog").await?;
        let mut listed = Vec::new();
        for repository in catalog.repositories {
            let tags: Tags = self.read(&format!("/v2/{repository}/tags/list")).await?;
            for tag in tags.tags.unwrap_or_default() {
                let path = format!("/v2/{repository}/manifests/{tag}");
                let manifest = self.exchange(Method::GET, &path, None, Bytes::new()).await?.1;
                listed.push(Listed { name: format!("{repository}:{tag}"), digest: digest(&manifest) });
            }
        }
        Ok(listed)
    }

    /// Takes a name away; what nothing names any more is removed.
    pub async fn remove(&self, reference: &Reference) -> Result<(), FetchError> {
        self.exchange(Method::DELETE, &manifest_path(reference), None, Bytes::new()).await.map(drop)
    }

    async fn put_blob(&self, reference: &Reference, digest: &str, content: Bytes) -> Result<(), FetchError> {
        if self.has(reference, digest).await {
            return Ok(());
        }
        let place = self.begin(reference).await?;
        self.finish(&place, digest, content).await
    }

    async fn put_in_chunks(&self, reference: &Reference, mut blob: impl Blob) -> Result<(), FetchError> {
        if self.has(reference, blob.digest()).await {
            return Ok(());
        }
        let mut place = self.begin(reference).await?;
        loop {
            let chunk = blob.next(CHUNK_BYTES).map_err(|error| FetchError::Unavailable(error.to_string()))?;
            if chunk.is_empty() {
                return self.finish(&place, blob.digest(), chunk).await;
            }
            let (headers, _) = self.exchange(Method::PATCH, &place, Some(BYTES_TYPE), chunk).await?;
            place = location(&headers)?;
        }
    }

    async fn has(&self, reference: &Reference, digest: &str) -> bool {
        let path = format!("/v2/{}/blobs/{digest}", reference.repository);
        self.exchange(Method::HEAD, &path, None, Bytes::new()).await.is_ok()
    }

    /// Begins an upload; gives where it goes.
    async fn begin(&self, reference: &Reference) -> Result<String, FetchError> {
        let path = format!("/v2/{}/blobs/uploads/", reference.repository);
        let (headers, _) = self.exchange(Method::POST, &path, None, Bytes::new()).await?;
        location(&headers)
    }

    async fn finish(&self, place: &str, digest: &str, rest: Bytes) -> Result<(), FetchError> {
        let joint = if place.contains('?') { '&' } else { '?' };
        let path = format!("{place}{joint}digest={digest}");
        self.exchange(Method::PUT, &path, Some(BYTES_TYPE), rest).await.map(drop)
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, FetchError> {
        let (_, body) = self.exchange(Method::GET, path, None, Bytes::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|e| FetchError::Unavailable(format!("unreadable answer of the registry: {e}")))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), FetchError> {
        let answered = self.https.call(method, path, MANIFEST_TYPE, content_type, body).await;
        let (status, headers, body) = answered.map_err(|e| FetchError::Unavailable(e.to_string()))?;
        match status {
            StatusCode::NOT_FOUND => Err(FetchError::NotFound(path.to_owned())),
            status if status.is_success() => Ok((headers, body)),
            status => Err(FetchError::Unavailable(format!("{status}: {}", String::from_utf8_lossy(&body)))),
        }
    }
}

#[async_trait]
impl ImageSource for RegistryClient {
    async fn resolve(&self, reference: &Reference, _: &[Login]) -> Result<String, FetchError> {
        let (_, manifest) = self.exchange(Method::GET, &manifest_path(reference), None, Bytes::new()).await?;
        Artifact::layer_of(&manifest).ok_or_else(|| FetchError::NotAModule(reference.to_string()))
    }

    async fn fetch(&self, reference: &Reference, digest: &str, _: &[Login]) -> Result<Bytes, FetchError> {
        let path = format!("/v2/{}/blobs/{digest}", reference.repository);
        Ok(self.exchange(Method::GET, &path, None, Bytes::new()).await?.1)
    }
}

#[async_trait]
impl LinuxSource for RegistryClient {
    async fn content(&self, reference: &Reference) -> Result<Content, FetchError> {
        let (_, manifest) = self.exchange(Method::GET, &manifest_path(reference), None, Bytes::new()).await?;
        Content::of(&manifest).ok_or_else(|| FetchError::NotAModule(reference.to_string()))
    }

    async fn blob(&self, reference: &Reference, digest: &str) -> Result<BlobStream, FetchError> {
        let path = format!("/v2/{}/blobs/{digest}", reference.repository);
        let stream = self.https.download(&path).await.map_err(|error| FetchError::Unavailable(error.to_string()))?;
        Ok(stream.map_err(io::Error::other).boxed())
    }
}

/// Where an upload goes on.
fn location(headers: &HeaderMap) -> Result<String, FetchError> {
    let place = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    place.ok_or_else(|| FetchError::Unavailable("the registry named no place to upload to".into()))
}

fn manifest_path(reference: &Reference) -> String {
    format!("/v2/{}/manifests/{}", reference.repository, reference.version)
}
