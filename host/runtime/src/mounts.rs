//! Mounts of single files (a `subPath` that names one, a `hostPath` of type File).
//!
//! WASI gives a guest directories only. So the files that are mounted into one directory of the guest are put into a
//! directory of the node's, by hard links: the same files as in the volume, as a bind mount would show them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{ContainerSpec, Mount, StartError};

/// A container's directories of single files; removed with it.
#[derive(Debug, Default)]
pub struct Staged(Option<PathBuf>);

impl Staged {
    /// What `stage` has made below `place` for a container that has outlived the process which did so.
    pub fn left(place: &Path, id: &str) -> Self {
        Self(Some(place.join(id)))
    }
}

/// Turns a container's mounts of files into mounts of directories below `place`. An error is one for the pod's status.
pub fn stage(spec: &mut ContainerSpec, place: &Path) -> Result<Staged, StartError> {
    let (files, directories): (Vec<Mount>, Vec<Mount>) =
        std::mem::take(&mut spec.mounts).into_iter().partition(|mount| mount.host.is_file());
    spec.mounts = directories;
    if files.is_empty() {
        return Ok(Staged::default());
    }
    let place = place.join(&spec.id);
    let staged = Staged(Some(place.clone()));
    for (number, (parent, files)) in by_directory(files)?.into_iter().enumerate() {
        if spec.mounts.iter().any(|mount| plain(&mount.guest) == plain(&parent)) {
            return Err(refused(&parent, "a volume is mounted there, and a file cannot be mounted into it"));
        }
        let read_only = files.iter().any(|file| file.read_only);
        if files.iter().any(|file| file.read_only != read_only) {
            return Err(refused(&parent, "files mounted into one directory are all read-only or all writable"));
        }
        let host = place.join(number.to_string());
        fs::create_dir_all(&host).map_err(|error| refused(&parent, &error.to_string()))?;
        for file in &files {
            show(file, &host).map_err(|error| refused(&file.guest, &error.to_string()))?;
        }
        spec.mounts.push(Mount { host, guest: parent, read_only });
    }
    Ok(staged)
}

/// The files by the guest's directory that they are mounted into.
fn by_directory(files: Vec<Mount>) -> Result<BTreeMap<String, Vec<Mount>>, StartError> {
    let mut found: BTreeMap<String, Vec<Mount>> = BTreeMap::new();
    for file in files {
        let path = Path::new(&file.guest);
        let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(refused(&file.guest, "a file cannot be mounted as a directory"));
        };
        found.entry(parent.display().to_string()).or_default().push(file);
    }
    Ok(found)
}

/// The same file where there can be a link to it; else a copy, if nobody can tell by writing to it.
fn show(file: &Mount, directory: &Path) -> io::Result<()> {
    let name = Path::new(&file.guest).file_name().unwrap_or_default();
    let shown = directory.join(name);
    match fs::hard_link(&file.host, &shown) {
        Err(_) if file.read_only => fs::copy(&file.host, &shown).map(drop),
        linked => linked,
    }
}

fn plain(guest: &str) -> &str {
    guest.trim_end_matches('/')
}

fn refused(guest: &str, why: &str) -> StartError {
    StartError { reason: "CreateContainerError", message: format!("cannot mount a file at {guest}: {why}") }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(place) = &self.0
            && let Err(error) = fs::remove_dir_all(place)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(place = %place.display(), %error, "a container's directory of mounted files stays behind");
        }
    }
}
