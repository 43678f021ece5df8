//! The data directory: made private, locked against a second process, stamped with a format version.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt;

/// The layout that this release writes; a greater one belongs to a newer release.
const FORMAT: u32 = 1;

/// A data directory that is ours as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Not writable, no directory, …
    #[error("cannot use the data directory {path}: {source}; choose another with --data-dir")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process.
    #[error("another wherry uses the data directory {0}; stop it first, or choose another with --data-dir")]
    InUse(PathBuf),
    /// A newer release wrote it.
    #[error("the data directory {path} has format {found}, this release knows up to {FORMAT}; use the newer release")]
    Newer {
        /// The directory.
        path: PathBuf,
        /// What its file `format` says.
        found: String,
    },
}

impl DataDir {
    /// Makes the directory where it is missing (mode 0700) and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(failed(&lock_path))?;
        if !FileExt::try_lock_exclusive(&lock).map_err(failed(&lock_path))? {
            return Err(DataDirError::InUse(path.to_owned()));
        }
        let data = Self { path: path.to_owned(), _lock: lock };
        data.check_format()?;
        Ok(data)
    }

    /// A path within.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file whole or not at all, readable by its owner only.
    pub fn write(&self, name: &str, content: &str) -> Result<(), DataDirError> {
        let target = self.join(name);
        write_private(&target, content.as_bytes()).map_err(|source| DataDirError::Io { path: target, source })
    }

    /// Reads a file; `None` where there is none.
    pub fn read(&self, name: &str) -> Result<Option<String>, DataDirError> {
        let path = self.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    fn check_format(&self) -> Result<(), DataDirError> {
        let Some(found) = self.read("format")? else { return self.write("format", &format!("{FORMAT}\n")) };
        match found.trim().parse::<u32>() {
            Ok(known) if known <= FORMAT => Ok(()),
            _ => Err(DataDirError::Newer { path: self.path.clone(), found: found.trim().to_owned() }),
        }
    }
}

fn write_private(target: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = target.with_extension("new");
    if let Some(parent) = target.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()?;
    fs::rename(&temporary, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let first = DataDir::open(scratch.path()).unwrap();
        assert!(matches!(DataDir::open(scratch.path()), Err(DataDirError::InUse(_))));
        drop(first);
        assert!(DataDir::open(scratch.path()).is_ok());
    }

    #[test]
    fn a_newer_format_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("format"), "2").unwrap();
        let error = DataDir::open(scratch.path()).unwrap_err().to_string();
        assert!(error.contains("has format 2, this release knows up to 1"), "{error}");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::open(&file).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the data directory") && error.contains("--data-dir"), "{error}");
    }
}
