//! What volumes take of the disk.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The unit in which the file system counts what a file takes.
const BLOCK_BYTES: u64 = 512;

/// What a directory and all beneath it take, in bytes; links are not followed, and a file with several names counts once.
/// What cannot be looked into, such as a directory nested deeper than a path can name, is an error: it may hold anything.
pub fn used_bytes(directory: &Path) -> io::Result<u64> {
    let mut total = 0;
    let mut known = HashSet::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Some(entries) = if_there(fs::read_dir(&directory))? else { continue };
        for entry in entries {
            let entry = entry?;
            let Some(facts) = if_there(entry.metadata())? else { continue };
            if facts.nlink() == 1 || facts.is_dir() || known.insert((facts.dev(), facts.ino())) {
                total += facts.blocks() * BLOCK_BYTES;
            }
            if facts.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(total)
}

/// Guests remove files while they are counted.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_there_once() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(used_bytes(&scratch.path().join("missing")).unwrap(), 0);
        let deep = scratch.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        let before = used_bytes(scratch.path()).unwrap();
        fs::write(deep.join("file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(deep.join("file"), scratch.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/", scratch.path().join("link")).unwrap();
        fs::File::create(deep.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let more = used_bytes(scratch.path()).unwrap() - before;
        assert!(((1 << 20)..(2 << 20)).contains(&more), "{more}");
    }
}
