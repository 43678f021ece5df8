//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Makes the directories, and removes what earlier uploads left.
pub(super) fn make_directories(root: &Path) -> io::Result<()> {
    found(fs::remove_dir_all(root.join("uploads")))?;
    for name in ["blobs/sha256", "uploads"] {
        fs::create_dir_all(root.join(name))?;
    }
    Ok(())
}

/// A name for a file that is being written.
pub(super) fn temporary(root: &Path, id: Uuid) -> PathBuf {
    root.join("uploads").join(id.to_string())
}

/// Writes a file in one piece: under another name, to the disk, then renamed.
pub(super) fn write_whole(root: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(root, Uuid::new_v4());
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| publish(&temporary, path));
    if moved.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    moved
}

/// Gives a file that is on disk its name, durably.
pub(super) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
    fs::create_dir_all(directory)?;
    fs::rename(temporary, path)?;
    File::open(directory)?.sync_all()
}

/// Turns "there is no such file" into none.
pub(super) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a directory, sorted; none where it is missing.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = found(fs::read_dir(directory))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
