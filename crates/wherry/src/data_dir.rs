//! The data directory: made private, locked against a second process, stamped with a format version.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt;

/// The layout that this release writes; a greater one belongs to a newer release.
const FORMAT: u32 = 1;

/// What one process at a time may be in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds the cluster's state.
    Master,
    /// Runs pods.
    Node,
}

/// A data directory that is ours, in some roles, as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _locks: Vec<File>,
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
    /// Makes the directory where it is missing (mode 0700) and takes these roles in it for this process.
    pub fn open(path: &Path, roles: &[Role]) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        // Absolute: sandboxes run in a directory of their own.
        let path = fs::canonicalize(path).map_err(failed)?;
        let locks = roles.iter().map(|role| lock(&path, *role)).collect::<Result<_, _>>()?;
        let data = Self { path, _locks: locks };
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

fn lock(directory: &Path, role: Role) -> Result<File, DataDirError> {
    let path = directory.join(if role == Role::Master { "lock" } else { "node.lock" });
    let failed = |source| DataDirError::Io { path: path.clone(), source };
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let is_ours = FileExt::try_lock_exclusive(&lock).map_err(failed)?;
    if is_ours { Ok(lock) } else { Err(DataDirError::InUse(directory.to_owned())) }
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
        let open = |roles: &[Role]| DataDir::open(scratch.path(), roles);
        let both = open(&[Role::Master, Role::Node]).unwrap();
        assert!(matches!(open(&[Role::Node]), Err(DataDirError::InUse(_))));
        drop(both);
        let _master = open(&[Role::Master]).unwrap();
        assert!(matches!(open(&[Role::Master, Role::Node]), Err(DataDirError::InUse(_))));
        assert!(open(&[Role::Node]).is_ok());
    }

    #[test]
    fn a_newer_format_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("format"), "2").unwrap();
        let error = DataDir::open(scratch.path(), &[Role::Master]).unwrap_err().to_string();
        assert!(error.contains("has format 2, this release knows up to 1"), "{error}");
    }

    #[test]
    fn its_paths_are_absolute() {
        let scratch = tempfile::tempdir_in(".").unwrap();
        let relative = Path::new(scratch.path().file_name().unwrap());
        let data = DataDir::open(relative, &[Role::Master]).unwrap();
        assert_eq!(data.join("x"), fs::canonicalize(relative).unwrap().join("x"));
        assert!(data.join("x").is_absolute());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::open(&file, &[Role::Master]).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the data directory") && error.contains("--data-dir"), "{error}");
    }
}
