//! The client of an OCI registry, as far as modules need it. Follows the OCI distribution specification 1.1.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use wherry_client::Https;

use crate::artifact::{Artifact, MANIFEST_TYPE, digest};
use crate::{FetchError, ImageSource, Reference};

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
        let repository = &reference.repository;
        let known = self.exchange(Method::HEAD, &format!("/v2/{repository}/blobs/{digest}"), None, Bytes::new()).await;
        if known.is_ok() {
            return Ok(());
        }
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let (headers, _) = self.exchange(Method::POST, &begin, None, Bytes::new()).await?;
        let place = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let place = place.ok_or_else(|| FetchError::Unavailable("the registry named no place to upload to".into()))?;
        let joint = if place.contains('?') { '&' } else { '?' };
        let path = format!("{place}{joint}digest={digest}");
        self.exchange(Method::PUT, &path, Some("application/octet-stream"), content).await.map(drop)
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
    async fn resolve(&self, reference: &Reference) -> Result<String, FetchError> {
        let (_, manifest) = self.exchange(Method::GET, &manifest_path(reference), None, Bytes::new()).await?;
        Artifact::layer_of(&manifest).ok_or_else(|| FetchError::NotAModule(reference.to_string()))
    }

    async fn fetch(&self, reference: &Reference, digest: &str) -> Result<Bytes, FetchError> {
        let path = format!("/v2/{}/blobs/{digest}", reference.repository);
        Ok(self.exchange(Method::GET, &path, None, Bytes::new()).await?.1)
    }
}

fn manifest_path(reference: &Reference) -> String {
    format!("/v2/{}/manifests/{}", reference.repository, reference.version)
}
