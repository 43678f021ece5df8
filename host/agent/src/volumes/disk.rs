//! Volumes on disk. Files of configuration change all at once: a new directory, and a link that is swapped to it.
//!
//! The layout is the kubelet's: `..data` links to a directory `..N`, each top-level name links to `..data/NAME`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::content::{Files, Refusal};

const DATA: &str = "..data";

/// Makes an empty directory, if there is none.
pub fn directory(place: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(place).map_err(|error| explain(place, &error))
}

/// Checks (or makes) a place of the node as `type` wants it.
pub fn host(source: &HostPathVolumeSource) -> Result<(), Refusal> {
    let path = Path::new(&source.path);
    let refuse = |what: &str| Err((format!("hostPath type check failed: {} is not {what}", source.path), true));
    match source.type_.as_deref().unwrap_or_default() {
        "" => Ok(()),
        "DirectoryOrCreate" => directory(path),
        "FileOrCreate" if !path.exists() => fs::write(path, "").map_err(|error| explain(path, &error)),
        "Directory" if !path.is_dir() => refuse("a directory"),
        "File" | "FileOrCreate" if !path.is_file() => refuse("a file"),
        "Directory" | "File" | "FileOrCreate" => Ok(()),
        other => Err((format!("hostPath type {other} is not supported: a module sees directories and files"), false)),
    }
}

/// Writes files, or swaps them for those that are there.
pub fn write(place: &Path, files: &Files) -> Result<(), Refusal> {
    let done = || -> io::Result<()> {
        fs::create_dir_all(place)?;
        if is_current(place, files) {
            return Ok(());
        }
        let old = fs::read_link(place.join(DATA)).ok();
        let fresh = fresh_name(place);
        fill(&place.join(&fresh), files)?;
        let staged = place.join("..data_tmp");
        let _absent = fs::remove_file(&staged);
        symlink(&fresh, &staged)?;
        fs::rename(&staged, place.join(DATA))?;
        link_names(place, files)?;
        old.map_or(Ok(()), |old| fs::remove_dir_all(place.join(old)))
    };
    done().map_err(|error| explain(place, &error))
}

fn fresh_name(place: &Path) -> String {
    let name = |number: u32| format!("..{number}");
    (1..).map(name).find(|name| !place.join(name).exists()).unwrap_or_default()
}

fn fill(folder: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (path, file) in files {
        let path = folder.join(path);
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(&path, &file.bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Whether the files are there already, byte for byte.
fn is_current(place: &Path, files: &Files) -> bool {
    let data = place.join(DATA);
    let same =
        |(path, file): (&String, &super::content::File)| fs::read(data.join(path)).is_ok_and(|b| b == file.bytes);
    data.exists() && count_files(&data) == files.len() && files.iter().all(same)
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

fn link_names(place: &Path, files: &Files) -> io::Result<()> {
    let tops: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(place)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !tops.contains(name.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    for top in tops {
        let link = place.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(top), link)?;
        }
    }
    Ok(())
}

fn explain(place: &Path, error: &io::Error) -> Refusal {
    (format!("{}: {error}", place.display()), true)
}

/// Removes a pod's folder.
pub fn remove(folder: &Path) {
    let _absent = fs::remove_dir_all(folder);
}

/// Removes the folders of pods whose uid is not `known`.
pub fn remove_orphans(pods: &Path, known: impl Fn(&str) -> bool) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>();
    for namespace in entries(pods) {
        for pod in entries(&namespace.path()).iter().filter(|pod| !known(&pod.file_name().to_string_lossy())) {
            remove(&pod.path());
        }
    }
}
