//! Tags and manifests as files, as one master alone kept them: taken over into the records, once.
//!
//! ```text
//! repositories/NAME/_manifests/HEX        the media type of a manifest of that repository
//! repositories/NAME/_tags/TAG             the digest that the tag stands for
//! ```

use std::path::Path;

use super::{ImageStore, files};
use crate::record::Record;
use crate::{Error, RepositoryName};

const DIRECTORY: &str = "repositories";

impl ImageStore {
    /// Puts what is in such files into the records, where they have no tag of that name, and removes the files.
    pub async fn take_over(&self) -> Result<(), Error> {
        let directory = self.inner.root.join(DIRECTORY);
        let found = {
            let directory = directory.clone();
            self.blocking(move |_| Ok(read(&directory)?)).await?
        };
        for (repository, found) in found {
            let join = |record: &mut Record| {
                record.join(found.clone());
                Ok(())
            };
            self.inner.records.change(&repository, join).await?;
        }
        self.blocking(move |_| Ok(files::found(std::fs::remove_dir_all(&directory)).map(drop)?)).await
    }
}

fn read(root: &Path) -> std::io::Result<Vec<(RepositoryName, Record)>> {
    let mut all = Vec::new();
    let mut ahead = vec![String::new()];
    while let Some(name) = ahead.pop() {
        for part in files::names(&root.join(&name))? {
            if part == "_manifests" {
                if let Ok(repository) = name.parse() {
                    all.push((repository, record(&root.join(&name))?));
                }
            } else if !part.starts_with('_') {
                ahead.push(if name.is_empty() { part } else { format!("{name}/{part}") });
            }
        }
    }
    Ok(all)
}

fn record(directory: &Path) -> std::io::Result<Record> {
    let mut record = Record::default();
    for hex in files::names(&directory.join("_manifests"))? {
        let media_type = std::fs::read_to_string(directory.join("_manifests").join(&hex))?;
        record.manifests.extend(format!("sha256:{hex}").parse().map(|digest| (digest, media_type)));
    }
    for tag in files::names(&directory.join("_tags"))? {
        let digest = std::fs::read_to_string(directory.join("_tags").join(&tag))?;
        record.tags.extend(digest.parse().map(|digest| (tag, digest)));
    }
    Ok(record)
}
