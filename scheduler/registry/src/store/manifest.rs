//! Manifests and tags: what gives blobs a name.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;

use super::{Image, ImageStore, Inner, Manifest, files};
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
    /// the given one, else what the manifest says, else that of an OCI image.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Digest, Error> {
        let (repository, reference) = (repository.clone(), reference.clone());
        let media_type = media_type.map(str::to_owned);
        self.blocking(move |store| store.put_manifest(&repository, &reference, media_type, &bytes)).await
    }

    /// The manifest that a tag or digest stands for.
    pub async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Manifest, Error> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.blocking(move |store| store.resolve(&repository, &reference)).await
    }

    /// Removes a tag, and its manifest if nothing else names it; or a manifest with all its tags. The blobs stay until
    /// garbage is collected.
    pub async fn remove(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), Error> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.blocking(move |store| store.remove(&repository, &reference)).await
    }

    /// All tagged images, by repository and tag.
    pub async fn list(&self) -> Result<Vec<Image>, Error> {
        self.blocking(|store| store.list()).await
    }

    /// The tags of a repository, sorted.
    pub(crate) async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        let repository = repository.clone();
        self.blocking(move |store| {
            let directory = store.repository_path(&repository);
            if !directory.join("_manifests").exists() {
                return Err(Error::NameUnknown(repository));
            }
            Ok(files::names(&directory.join("_tags"))?)
        })
        .await
    }

    /// All repositories, sorted.
    pub(crate) async fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        self.blocking(|store| store.repositories()).await
    }
}

impl Inner {
    fn repository_path(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: Option<String>,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(Error::TooLarge { limit_bytes: MANIFEST_BYTES_MAX as u64 });
        }
        let found = Digest::of(bytes);
        if let Reference::Digest(announced) = reference
            && *announced != found
        {
            return Err(Error::DigestMismatch { announced: announced.clone(), found });
        }
        let outline = outline(bytes)?;
        let fallback = || "application/vnd.oci.image.manifest.v1+json".to_owned();
        let media_type = media_type.or(outline.media_type).unwrap_or_else(fallback);
        let mut fresh = self.changing();
        if let Some(missing) = outline.refers_to.iter().find(|digest| !self.blob_path(digest).exists()) {
            return Err(Error::ManifestBlobUnknown(missing.clone()));
        }
        files::write_whole(&self.root, &self.blob_path(&found), bytes)?;
        let directory = self.repository_path(repository);
        files::write_whole(&self.root, &directory.join("_manifests").join(found.hex()), media_type.as_bytes())?;
        if let Reference::Tag(tag) = reference {
            let digest = found.to_string();
            files::write_whole(&self.root, &directory.join("_tags").join(&**tag), digest.as_bytes())?;
        }
        fresh.forget(&outline.refers_to);
        Ok(found)
    }

    fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Manifest, Error> {
        let unknown = || Error::ManifestUnknown(format!("{repository}:{reference}"));
        let digest = self.digest_of(repository, reference)?.ok_or_else(unknown)?;
        let directory = self.repository_path(repository);
        let media_type = files::found(std::fs::read_to_string(directory.join("_manifests").join(digest.hex())))?;
        let media_type = media_type.ok_or_else(unknown)?;
        Ok(Manifest { bytes: self.read_blob(&digest)?, digest, media_type })
    }

    fn digest_of(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, Error> {
        match reference {
            Reference::Digest(digest) => Ok(Some(digest.clone())),
            Reference::Tag(tag) => {
                let path = self.repository_path(repository).join("_tags").join(&**tag);
                files::found(std::fs::read_to_string(path))?.map(|text| text.parse()).transpose()
            }
        }
    }

    fn remove(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), Error> {
        let _fresh = self.changing();
        let unknown = || Error::ManifestUnknown(format!("{repository}:{reference}"));
        let digest = self.digest_of(repository, reference)?.ok_or_else(unknown)?;
        if !self.manifests(repository)?.contains(&digest) {
            return Err(unknown());
        }
        for tag in self.tags_of(repository, &digest)? {
            let is_meant = !matches!(reference, Reference::Tag(meant) if **meant != *tag);
            if is_meant {
                files::found(std::fs::remove_file(self.repository_path(repository).join("_tags").join(&tag)))?;
            }
        }
        match reference {
            Reference::Tag(_) => self.forget_unnamed(repository, vec![digest]),
            Reference::Digest(_) => self.forget(repository, &digest),
        }
    }

    /// Removes a manifest, and the manifests of its own that nothing else names.
    fn forget(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        let own = self.read_blob(digest).and_then(|bytes| outline(&bytes)).map(|outline| outline.refers_to);
        files::found(std::fs::remove_file(self.repository_path(repository).join("_manifests").join(digest.hex())))?;
        self.forget_unnamed(repository, own.unwrap_or_default())
    }

    /// Removes those of the manifests that have no tag and are in no index.
    fn forget_unnamed(&self, repository: &RepositoryName, digests: Vec<Digest>) -> Result<(), Error> {
        for digest in digests {
            let all = self.manifests(repository)?;
            let refers = |other: &&Digest| {
                let outline = self.read_blob(other).and_then(|bytes| outline(&bytes));
                outline.is_ok_and(|outline| outline.refers_to.contains(&digest))
            };
            let is_named = !self.tags_of(repository, &digest)?.is_empty() || all.iter().any(|other| refers(&other));
            if all.contains(&digest) && !is_named {
                self.forget(repository, &digest)?;
            }
        }
        Ok(())
    }

    /// The tags that stand for a digest.
    fn tags_of(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<String>, Error> {
        let mut tags = files::names(&self.repository_path(repository).join("_tags"))?;
        let stands_for = |tag: &String| self.digest_of(repository, &Reference::Tag(tag.as_str().into()));
        tags.retain(|tag| stands_for(tag).is_ok_and(|found| found.as_ref() == Some(digest)));
        Ok(tags)
    }

    fn list(&self) -> Result<Vec<Image>, Error> {
        let mut images = Vec::new();
        for repository in self.repositories()? {
            for tag in files::names(&self.repository_path(&repository).join("_tags"))? {
                // A tag that was removed a moment ago is not listed.
                let Some(digest) = self.digest_of(&repository, &Reference::Tag(tag.as_str().into()))? else { continue };
                let size_bytes =
                    self.with_references([digest.clone()])?.iter().map(|d| self.size_of_blob(d).unwrap_or(0)).sum();
                images.push(Image { repository: repository.clone(), tag, digest, size_bytes });
            }
        }
        Ok(images)
    }

    pub(super) fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        let root = self.root.join("repositories");
        let mut found = Vec::new();
        let mut ahead = vec![String::new()];
        while let Some(name) = ahead.pop() {
            for part in files::names(&root.join(&name))? {
                if part == "_manifests" {
                    found.extend(name.parse());
                } else if !part.starts_with('_') {
                    ahead.push(if name.is_empty() { part } else { format!("{name}/{part}") });
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The manifests of a repository.
    pub(super) fn manifests(&self, repository: &RepositoryName) -> Result<Vec<Digest>, Error> {
        let names = files::names(&self.repository_path(repository).join("_manifests"))?;
        Ok(names.iter().filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect())
    }

    /// These digests and all that they refer to, directly or not. Layers are no manifests and refer to nothing.
    pub(super) fn with_references(&self, roots: impl IntoIterator<Item = Digest>) -> Result<BTreeSet<Digest>, Error> {
        let mut seen = BTreeSet::new();
        let mut ahead: Vec<Digest> = roots.into_iter().collect();
        while let Some(digest) = ahead.pop() {
            let size = self.size_of_blob(&digest).unwrap_or(u64::MAX);
            if seen.insert(digest.clone()) && size <= MANIFEST_BYTES_MAX as u64 {
                let outline = self.read_blob(&digest).and_then(|bytes| outline(&bytes));
                ahead.extend(outline.map(|outline| outline.refers_to).unwrap_or_default());
            }
        }
        Ok(seen)
    }
}
