//! Which images the node has brought into its engine. The engine may be somebody's who has images of his own there: the node removes
//! none but those that it has brought itself, and none that has got another name since. Kept in a file, over restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::inner::locked;

/// How many images are remembered; those that are brought beyond that stay in the engine.
const IMAGES_MAX: usize = 4096;

/// The names that images had in the engine, by their digests.
pub type Names = BTreeMap<String, BTreeSet<String>>;

/// What the node has brought.
pub struct Pulled {
    file: PathBuf,
    images: Mutex<Names>,
}

impl Pulled {
    /// As the file says. Where that cannot be read nothing is the node's.
    pub fn open(file: PathBuf) -> Self {
        let images = read(&file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "which images are the node's is not known any more: they stay");
            Names::new()
        });
        Self { file, images: Mutex::new(images) }
    }

    /// An image was brought, and has these names now; `before` is what the engine had.
    pub fn note(&self, digest: &str, names: BTreeSet<String>, before: &Names) {
        let mut images = locked(&self.images);
        let is_known = images.contains_key(digest);
        if !is_known && (before.contains_key(digest) || images.len() >= IMAGES_MAX) {
            return;
        }
        let new: Vec<_> =
            names.into_iter().filter(|name| !before.get(digest).is_some_and(|old| old.contains(name))).collect();
        let kept = images.entry(digest.to_owned()).or_default();
        let count = kept.len();
        kept.extend(new);
        if !is_known || kept.len() > count {
            self.write(&images);
        }
    }

    /// Whether an image of these names is the node's alone.
    pub fn is_ours(&self, digest: &str, names: &BTreeSet<String>) -> bool {
        locked(&self.images).get(digest).is_some_and(|ours| names.is_subset(ours))
    }

    /// Forgets what the engine has no more.
    pub fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        let mut images = locked(&self.images);
        let count = images.len();
        images.retain(|digest, _| is_there(digest));
        if images.len() < count {
            self.write(&images);
        }
    }

    fn write(&self, images: &Names) {
        if let Err(error) = write(&self.file, images) {
            tracing::warn!(file = %self.file.display(), %error, "which images are the node's cannot be kept: after a restart they stay");
        }
    }
}

fn read(file: &Path) -> io::Result<Names> {
    match fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names::new()),
        Err(error) => Err(error),
    }
}

/// Whole or not at all. Called by one at a time.
fn write(file: &Path, images: &Names) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(images)?)?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn only_what_the_node_alone_has_brought_is_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("node/images");
        let pulled = Pulled::open(file.clone());
        let before = Names::from([("theirs".to_owned(), set(&["x:1"]))]);
        pulled.note("ours", set(&["a:1"]), &before);
        pulled.note("theirs", set(&["x:1", "a:2"]), &before);
        let again = Names::from([("ours".to_owned(), set(&["a:1", "users:1"]))]);
        pulled.note("ours", set(&["a:1", "users:1", "b:1"]), &again);
        let check = |pulled: &Pulled, digest: &str, names: &[&str], expected: bool| {
            assert_eq!(pulled.is_ours(digest, &set(names)), expected, "{digest} {names:?}");
        };
        for pulled in [&pulled, &Pulled::open(file.clone())] {
            check(pulled, "ours", &["a:1"], true);
            check(pulled, "ours", &["a:1", "b:1"], true);
            // Its last name stands for another one by now.
            check(pulled, "ours", &[], true);
            check(pulled, "ours", &["a:1", "users:1"], false);
            check(pulled, "theirs", &["x:1", "a:2"], false);
        }
        pulled.keep_only(|digest| digest != "ours");
        check(&Pulled::open(file.clone()), "ours", &["a:1"], false);
        fs::write(&file, "{").unwrap();
        check(&Pulled::open(file), "ours", &[], false);
    }

    #[test]
    fn it_has_an_end() {
        let scratch = tempfile::tempdir().unwrap();
        let pulled = Pulled::open(scratch.path().join("images"));
        let full = (0..IMAGES_MAX).map(|number| (number.to_string(), BTreeSet::new())).collect();
        *locked(&pulled.images) = full;
        pulled.note("more", set(&["m:1"]), &Names::new());
        assert!(!pulled.is_ours("more", &BTreeSet::new()) && pulled.is_ours("7", &BTreeSet::new()));
    }
}
