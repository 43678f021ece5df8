//! The modules of this node as images that take room on its disk: each with its code and its names, which go together. Code that
//! runs goes on: who runs it has its file open.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use async_trait::async_trait;
use wherry_runtime::{ImageStore, StoreError, StoredImage};

use super::{Images, hex, named};

/// How many digits the files of an image begin with.
const HEX_DIGITS: usize = 64;
/// Where they are.
const FOLDERS: [&str; 2] = ["modules", "compiled"];

#[async_trait]
impl ImageStore for Images {
    fn place(&self) -> Option<PathBuf> {
        Some(self.directory.clone())
    }

    async fn list(&self) -> Result<Vec<StoredImage>, StoreError> {
        let directory = self.directory.clone();
        done(tokio::task::spawn_blocking(move || list(&directory)).await)
    }

    async fn remove(&self, image: &StoredImage) -> Result<(), StoreError> {
        self.forget(&image.digest);
        let (directory, digest) = (self.directory.clone(), image.digest.clone());
        done(tokio::task::spawn_blocking(move || remove(&directory, &digest)).await)
    }
}

impl Images {
    fn forget(&self, digest: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, known| known != digest);
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| known != digest);
    }
}

fn done<T>(outcome: Result<io::Result<T>, tokio::task::JoinError>) -> Result<T, StoreError> {
    let failed = |error: &dyn std::error::Error| StoreError(format!("the modules of this node: {error}"));
    outcome.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

fn list(directory: &Path) -> io::Result<Vec<StoredImage>> {
    let mut images: BTreeMap<String, StoredImage> = BTreeMap::new();
    for folder in FOLDERS {
        for (hex, file) in files(&directory.join(folder))? {
            let fresh = || StoredImage { digest: format!("sha256:{hex}"), is_ours: true, ..StoredImage::default() };
            let image = images.entry(hex.clone()).or_insert_with(fresh);
            // What is gone by now takes no room.
            image.size_bytes += file.metadata().map_or(0, |facts| facts.len());
        }
    }
    for (_, kept) in names(directory)? {
        let (digest, name) = named(&kept);
        if let (Some(image), Some(name)) = (images.get_mut(hex(digest)), name) {
            image.names.push(name.to_owned());
        }
    }
    Ok(images.into_values().collect())
}

/// The names first: what is left of an image whose removal was cut off is an image without a name.
fn remove(directory: &Path, digest: &str) -> io::Result<()> {
    let of_image = names(directory)?.into_iter().filter(|(_, kept)| named(kept).0 == digest);
    let mut doomed: Vec<PathBuf> = of_image.map(|(file, _)| file).collect();
    for folder in FOLDERS {
        let found = files(&directory.join(folder))?;
        doomed.extend(found.into_iter().filter(|(found, _)| found == hex(digest)).map(|(_, file)| file.path()));
    }
    doomed.iter().try_for_each(fs::remove_file)
}

/// The files of images, by the digits that they begin with.
fn files(folder: &Path) -> io::Result<Vec<(String, DirEntry)>> {
    let all = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let of_image = |file: DirEntry| Some((file.file_name().to_str()?.get(..HEX_DIGITS)?.to_owned(), file));
    Ok(all.into_iter().filter_map(of_image).collect())
}

/// The files of names, each with what it says.
fn names(directory: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let all = fs::read_dir(directory.join("names"))?.collect::<io::Result<Vec<_>>>()?;
    Ok(all.into_iter().filter_map(|file| Some((file.path(), fs::read_to_string(file.path()).ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_goes_with_its_code_and_its_names() {
        let scratch = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|digit| digit.repeat(HEX_DIGITS));
        let file = |path: String, content: &str| {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        file(format!("modules/{first}.wasm"), "12");
        file(format!("compiled/{first}.cwasm"), "345");
        file(format!("compiled/{first}-free.signature"), "6");
        file(format!("modules/{second}.wasm"), "1234");
        file("names/1".into(), &format!("sha256:{first} app:v1"));
        file("names/2".into(), &format!("sha256:{first} app:latest"));
        file("names/3".into(), &format!("sha256:{second}"));
        file("modules/other".into(), "");
        let told = |directory: &Path| {
            let mut all = list(directory).unwrap();
            all.iter_mut().for_each(|image| image.names.sort());
            all.into_iter().map(|image| (image.digest, image.names, image.size_bytes)).collect::<Vec<_>>()
        };
        let names = vec!["app:latest".to_owned(), "app:v1".to_owned()];
        let (one, other) = (format!("sha256:{first}"), format!("sha256:{second}"));
        assert_eq!(told(scratch.path()), [(one.clone(), names, 6), (other.clone(), vec![], 4)]);
        remove(scratch.path(), &one).unwrap();
        assert_eq!(told(scratch.path()), [(other, vec![], 4)]);
        let left: Vec<_> = ["names", "modules", "compiled"]
            .map(|folder| fs::read_dir(scratch.path().join(folder)).unwrap().count())
            .into();
        assert_eq!(left, [1, 2, 0]);
    }
}
