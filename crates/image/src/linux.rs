//! Linux images in the registry: their manifests, and the archive that `docker save` writes and a container engine loads.
//!
//! Follows the OCI image specification 1.1 and the archive's `manifest.json`. Reads and writes no layer's content.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::artifact::{CONFIG_TYPE as MODULE_CONFIG_TYPE, MANIFEST_TYPE, digest};

/// The config's media type.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer that is a plain tar.
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// The archive's table of contents.
const INDEX: &str = "manifest.json";
/// The largest file of an archive that is read as a whole, in bytes: the table of contents, and the config.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// How many files an archive may have, and how many layers an image.
const ENTRIES_MAX: usize = 4096;
const LAYERS_MAX: usize = 512;
const BLOCK_BYTES: u64 = 512;

/// A piece of an image, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// How large, in bytes.
    pub size: u64,
}

/// A Linux image's manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LinuxImage {
    /// Its config.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a name of the registry stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A module.
    Module,
    /// A Linux image.
    Linux(LinuxImage),
}

impl Content {
    /// What a manifest is of; `None` where it is of neither.
    pub fn of(manifest: &[u8]) -> Option<Self> {
        let image: LinuxImage = serde_json::from_slice(manifest).ok()?;
        if image.config.media_type == MODULE_CONFIG_TYPE || crate::Artifact::layer_of(manifest).is_some() {
            return Some(Self::Module);
        }
        (image.layers.len() <= LAYERS_MAX).then_some(Self::Linux(image))
    }
}

impl LinuxImage {
    /// The manifest, encoded.
    pub fn manifest(&self) -> Bytes {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": self.config, "layers": self.layers,
        });
        manifest.to_string().into()
    }

    /// The archive that an engine loads as the image of that name, as headers and contents in their order.
    pub fn archive(&self, name: &str) -> Vec<Part> {
        let file = |descriptor: &Descriptor, ending: &str| {
            let hex = descriptor.digest.strip_prefix("sha256:").unwrap_or(&descriptor.digest);
            format!("{hex}.{ending}")
        };
        let layers: Vec<_> = self.layers.iter().map(|layer| file(layer, "tar")).collect();
        let config = file(&self.config, "json");
        let index = json!([{"Config": config, "RepoTags": [name], "Layers": layers}]).to_string();
        let mut parts = vec![header(INDEX, index.len() as u64), padded(index.into_bytes())];
        let mut seen: Vec<&str> = Vec::new();
        let blobs = std::iter::once((&self.config, config)).chain(self.layers.iter().zip(layers));
        for (descriptor, file) in blobs {
            if !seen.contains(&descriptor.digest.as_str()) {
                seen.push(&descriptor.digest);
                parts.extend([header(&file, descriptor.size), Part::Blob(descriptor.clone())]);
                parts.push(Part::Bytes(vec![0; padding(descriptor.size)].into()));
            }
        }
        parts.push(Part::Bytes(vec![0; 2 * usize::try_from(BLOCK_BYTES).unwrap_or_default()].into()));
        parts
    }
}

/// A piece of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// The content of this blob.
    Blob(Descriptor),
}

fn header(name: &str, size: u64) -> Part {
    Part::Bytes(Bytes::copy_from_slice(tar_header(name, size, 0o644).as_bytes()))
}

fn padded(mut content: Vec<u8>) -> Part {
    content.resize(content.len() + padding(content.len() as u64), 0);
    Part::Bytes(content.into())
}

fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(BLOCK_BYTES) - size).unwrap_or_default()
}

/// A file's header in an archive; the name has up to 100 bytes.
fn tar_header(name: &str, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // Fails for names that are too long, and those here are not.
    let _fits = header.set_path(name);
    header.set_size(size);
    header.set_mode(mode);
    header.set_cksum();
    header
}

/// An archive of one executable file.
pub fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let header = tar_header(name, content.len() as u64, 0o555);
    let end = padding(content.len() as u64) + 2 * usize::try_from(BLOCK_BYTES).unwrap_or_default();
    [header.as_bytes().as_slice(), content, &vec![0; end]].concat()
}

/// Why a file is no archive of an image.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read, or is something else.
    #[error("not an archive of `docker save` (which is not compressed): {0}")]
    Unreadable(#[from] io::Error),
    /// Its table of contents, or what that names, is not there.
    #[error("an archive without {0}, as `docker save` writes it")]
    Missing(String),
    /// Several images.
    #[error("an archive of {0} images: save one at a time, `docker save NAME:TAG -o FILE`")]
    Several(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    config: String,
    layers: Vec<String>,
}

/// Where a file of an archive is: its first byte, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From the beginning of the archive.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
}

/// What an archive of `docker save` holds: the image's config, and where its layers are.
#[derive(Debug)]
pub struct Saved {
    /// The config, as it is.
    pub config: Bytes,
    /// The layers, the lowest first.
    pub layers: Vec<Place>,
}

impl Saved {
    /// Finds out, without reading the layers.
    pub fn read(file: &mut (impl Read + Seek)) -> Result<Self, ArchiveError> {
        let entries = entries(file)?;
        let find = |name: &str| {
            let found = entries.iter().rev().find(|(entry, _)| entry == name).map(|(_, place)| *place);
            found.ok_or_else(|| ArchiveError::Missing(name.to_owned()))
        };
        let indexes: Vec<Index> = serde_json::from_slice(&document(file, find(INDEX)?)?).map_err(io::Error::other)?;
        let [index] = indexes.as_slice() else { return Err(ArchiveError::Several(indexes.len())) };
        let config = document(file, find(&index.config)?)?.into();
        let layers = index.layers.iter().take(LAYERS_MAX).map(|layer| find(layer)).collect::<Result<_, _>>()?;
        Ok(Self { config, layers })
    }

    /// The image, once the digests of the layers are known.
    pub fn image(&self, layer_digests: &[String]) -> LinuxImage {
        let layer = |(place, digest): (&Place, &String)| Descriptor {
            media_type: LAYER_TYPE.to_owned(),
            digest: digest.clone(),
            size: place.size,
        };
        let config = Descriptor {
            media_type: CONFIG_TYPE.to_owned(),
            digest: digest(&self.config),
            size: self.config.len() as u64,
        };
        LinuxImage { config, layers: self.layers.iter().zip(layer_digests).map(layer).collect() }
    }
}

/// The files of an archive by name; links count as what they lead to.
fn entries(file: &mut (impl Read + Seek)) -> Result<Vec<(String, Place)>, ArchiveError> {
    file.rewind()?;
    let mut archive = tar::Archive::new(file);
    let mut found: Vec<(String, Place)> = Vec::new();
    for entry in archive.entries_with_seek()?.take(ENTRIES_MAX) {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let target = entry.link_name()?.map(|target| followed(&name, &target.to_string_lossy()));
        let place = match target {
            Some(target) => found.iter().find(|(known, _)| *known == target).map(|(_, place)| *place),
            None => Some(Place { offset: entry.raw_file_position(), size: entry.size() }),
        };
        found.extend(place.map(|place| (name, place)));
    }
    Ok(found)
}

/// Where a link leads: the older archives have `A/layer.tar -> ../B/layer.tar`.
fn followed(name: &str, target: &str) -> String {
    match target.strip_prefix("../") {
        Some(rest) if name.matches('/').count() == 1 => rest.to_owned(),
        _ => target.to_owned(),
    }
}

fn document(file: &mut (impl Read + Seek), place: Place) -> io::Result<Vec<u8>> {
    if place.size > DOCUMENT_BYTES_MAX {
        return Err(io::Error::other(format!("a table of {} bytes", place.size)));
    }
    file.seek(SeekFrom::Start(place.offset))?;
    let mut content = Vec::new();
    file.take(place.size).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn sample() -> LinuxImage {
        let blob = |media_type: &str, content: &[u8]| Descriptor {
            media_type: media_type.into(),
            digest: digest(content),
            size: content.len() as u64,
        };
        let layer = || blob(LAYER_TYPE, b"layer");
        LinuxImage { config: blob(CONFIG_TYPE, b"config"), layers: vec![layer(), blob(LAYER_TYPE, b"other"), layer()] }
    }

    fn written(image: &LinuxImage) -> Vec<u8> {
        let content = |blob: &Descriptor| {
            [b"config".as_slice(), b"layer", b"other"]
                .into_iter()
                .find(|content| digest(content) == blob.digest)
                .unwrap()
        };
        let parts = image.archive("a:1").into_iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.to_vec(),
            Part::Blob(blob) => content(&blob).to_vec(),
        });
        parts.flatten().collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let image = sample();
        assert_eq!(Content::of(&image.manifest()), Some(Content::Linux(image.clone())));
        let bytes = written(&image);
        assert_eq!(bytes.len() as u64 % BLOCK_BYTES, 0);
        let saved = Saved::read(&mut Cursor::new(&bytes)).unwrap();
        let read = |place: &Place| {
            let from = usize::try_from(place.offset).unwrap();
            bytes[from..from + usize::try_from(place.size).unwrap()].to_vec()
        };
        assert_eq!(saved.config, b"config"[..]);
        let layers: Vec<_> = saved.layers.iter().map(read).collect();
        assert_eq!(layers, [b"layer", b"other", b"layer"]);
        let digests: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        assert_eq!(saved.image(&digests), image);
    }

    #[test]
    fn modules_and_other_files_are_told_apart() {
        assert_eq!(Content::of(&crate::Artifact::of(b"module").manifest), Some(Content::Module));
        assert_eq!(Content::of(b"{}"), None);
        let check = |bytes: &[u8], expected: &str| {
            let error = Saved::read(&mut Cursor::new(bytes)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&tar_of("a", b"b"), "without manifest.json");
        check(&tar_of(INDEX, b"[]"), "0 images");
        check(&tar_of(INDEX, br#"[{"Config": "c", "Layers": []}]"#), "without c");
        check(b"no archive at all, not even nearly", "docker save");
    }

    #[test]
    fn links_lead_to_layers() {
        assert_eq!(followed("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(followed("blobs/sha256/x", "blobs/sha256/y"), "blobs/sha256/y");
    }
}
