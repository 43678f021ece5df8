//! Manifests and tags: what gives blobs a name.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;

use super::{ImageStore, Inner, Manifest};
use crate::record::Record;
use crate::{Digest, Error, MANIFEST_BYTES_MAX, Reference, RepositoryName};

/// The parts of manifests and indexes that refer to other content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// What a manifest says of itself.
struct Outline {
    media_type: Option<String>,
    refers_to: Vec<Digest>,
}

fn outline(bytes: &[u8]) -> Result<Outline, Error> {
    let document: Document = serde_json::from_slice(bytes).map_err(|e| Error::ManifestInvalid(e.to_string()))?;
    let all = document.config.iter().chain(&document.layers).chain(&document.manifests);
    let refers_to = all.map(|descriptor| descriptor.digest.parse()).collect::<Result<_, _>>()?;
    Ok(Outline { media_type: document.media_type, refers_to })
}

impl ImageStore {
    /// Stores a manifest under a tag or its digest. Everything that it refers to must be there. The media type is
    /// the given one, else what the manifest says, else that of an OCI image. When this resolves, a majority of the masters
    /// has all of it.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Digest, Error> {
        let (digest, outline) = examine(reference, &bytes)?;
        let fallback = || "application/vnd.oci.image.manifest.v1+json".to_owned();
        let media_type = media_type.map(str::to_owned).or(outline.media_type).unwrap_or_else(fallback);
        let _nothing_is_collected = self.inner.changing.read().await;
        for part in &outline.refers_to {
            let obtained = self.obtain(part).await;
            obtained.map_err(|error| match error {
                Error::BlobUnknown(missing) => Error::ManifestBlobUnknown(missing),
                error => error,
            })?;
        }
        self.put_blob(bytes).await?;
        let parts: Vec<Digest> = outline.refers_to.into_iter().chain([digest.clone()]).collect();
        self.spread(&parts).await?;
        let put = |record: &mut Record| {
            record.put(reference, &digest, &media_type);
            Ok(())
        };
        self.inner.records.change(repository, put).await?;
        self.inner.fresh().forget(&parts);
        Ok(digest)
    }

    /// The manifest that a tag or digest stands for.
    pub async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Manifest, Error> {
        let record = self.inner.records.get(repository).await?;
        let (digest, media_type) = record.find(reference).ok_or_else(|| unknown(repository, reference))?;
        self.obtain(digest).await?;
        Ok(Manifest { bytes: self.blob(digest).await?, digest: digest.clone(), media_type: media_type.to_owned() })
    }

    /// Removes a tag, and its manifest if nothing else names it; or a manifest with all its tags. The blobs stay until
    /// garbage is collected.
    pub async fn remove(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), Error> {
        let _nothing_is_collected = self.inner.changing.read().await;
        let outlines = self.outlines(repository).await?;
        let refers_to =
            |digest: &Digest| outlines.get(digest).cloned().unwrap_or_else(|| self.inner.refers_to(digest, 0));
        let remove = |record: &mut Record| {
            if record.remove(reference, &refers_to) { Ok(()) } else { Err(unknown(repository, reference)) }
        };
        self.inner.records.change(repository, remove).await
    }

    /// What the manifests of a repository refer to. One that no master has any more refers to nothing.
    async fn outlines(&self, repository: &RepositoryName) -> Result<BTreeMap<Digest, Vec<Digest>>, Error> {
        let mut sizes = Vec::new();
        for manifest in self.inner.records.get(repository).await?.manifests.into_keys() {
            sizes.extend(self.obtain(&manifest).await.map(|size| (manifest, size)));
        }
        let outline = |(digest, size): (Digest, u64), store: &Inner| (digest.clone(), store.refers_to(&digest, size));
        self.blocking(move |store| Ok(sizes.into_iter().map(|sized| outline(sized, store)).collect())).await
    }

    /// The tags of a repository, sorted.
    pub(crate) async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        let record = self.inner.records.get(repository).await?;
        if record.manifests.is_empty() {
            return Err(Error::NameUnknown(repository.clone()));
        }
        Ok(record.tags.into_keys().collect())
    }

    /// All repositories, sorted.
    pub(crate) async fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        Ok(self.inner.records.all().await?.into_keys().collect())
    }
}

/// The digest of a manifest, which must be the one that it is called by, and what it says of itself.
fn examine(reference: &Reference, bytes: &[u8]) -> Result<(Digest, Outline), Error> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(Error::TooLarge { limit_bytes: MANIFEST_BYTES_MAX as u64 });
    }
    let found = Digest::of(bytes);
    match reference {
        Reference::Digest(announced) if *announced != found => {
            Err(Error::DigestMismatch { announced: announced.clone(), found })
        }
        _ => Ok((found, outline(bytes)?)),
    }
}

fn unknown(repository: &RepositoryName, reference: &Reference) -> Error {
    Error::ManifestUnknown(format!("{repository}:{reference}"))
}

impl Inner {
    /// What a blob of this size refers to; nothing where it is no manifest, or not here.
    pub(super) fn refers_to(&self, digest: &Digest, size_bytes: u64) -> Vec<Digest> {
        if size_bytes > MANIFEST_BYTES_MAX as u64 {
            return Vec::new();
        }
        self.read_blob(digest).and_then(|bytes| outline(&bytes)).map(|outline| outline.refers_to).unwrap_or_default()
    }

    /// These digests and all that they refer to, directly or not. Layers are no manifests and refer to nothing.
    pub(super) fn with_references(&self, roots: impl IntoIterator<Item = Digest>) -> BTreeSet<Digest> {
        let mut seen = BTreeSet::new();
        let mut ahead: Vec<Digest> = roots.into_iter().collect();
        while let Some(digest) = ahead.pop() {
            if seen.insert(digest.clone()) {
                let size = self.size_of_blob(&digest).unwrap_or(u64::MAX);
                ahead.extend(self.refers_to(&digest, size));
            }
        }
        seen
    }
}
