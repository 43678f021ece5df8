//! A pod's volumes as directories of the node: `PODS/NAMESPACE/UID/volumes/NAME`, and what of them a container sees.
//!
//! `content` decides purely what files a ConfigMap, Secret, downwardAPI or projected volume holds; `disk` writes them.
//! Kinds of volumes that there are not here are refused with a sentence.

mod content;
mod disk;
mod usage;

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume, VolumeMount};
use wherry_api::kinds::Pod;
use wherry_runtime::Mount;

use crate::downward::Facts;
use crate::objects::Found;

pub use disk::{remove, remove_orphans};
pub use usage::used_bytes;

/// Why a volume is not there: the message of `FailedMount`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {message}")]
pub struct VolumeError {
    /// Its name.
    pub volume: String,
    /// A sentence.
    pub message: String,
    /// Whether it may be there later.
    pub retry: bool,
}

/// The directories of the node that a pod sees and that are not its own.
pub fn host_directories(spec: &PodSpec) -> Vec<PathBuf> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|volume| volume.host_path.as_ref()).map(|host| PathBuf::from(&host.path)).collect()
}

/// Whether a pod has any volume.
pub fn any(pod: &Pod) -> bool {
    volumes(pod).next().is_some()
}

/// Makes a pod's volumes in `folder`, or brings the files of those that exist up to date. Does blocking I/O.
pub fn make(folder: &Path, facts: &Facts<'_>, found: &Found) -> Result<(), VolumeError> {
    for volume in volumes(facts.pod) {
        let error = |(message, retry)| VolumeError { volume: volume.name.clone(), message, retry };
        let place = folder.join(&volume.name);
        if volume.empty_dir.is_some() {
            disk::directory(&place).map_err(error)?;
        } else if let Some(host) = &volume.host_path {
            disk::host(host).map_err(error)?;
        } else {
            let files = content::files(volume, facts, found).map_err(error)?;
            disk::write(&place, &files).map_err(error)?;
        }
    }
    Ok(())
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// What a container sees of its pod's volumes. The error is a sentence. Does blocking I/O where there is a `subPath`.
pub fn mounts(
    folder: &Path,
    spec: &PodSpec,
    container: &Container,
    expand: impl Fn(&str) -> String,
) -> Result<Vec<Mount>, String> {
    let one = |mount: &VolumeMount| {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| format!("no volume is named \"{}\"", mount.name))?;
        let root = match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => folder.join(&volume.name),
        };
        let sub = mount.sub_path_expr.as_deref().map(&expand).or_else(|| mount.sub_path.clone());
        let files = content::is_files(volume);
        let host = match sub.filter(|sub| !sub.is_empty()) {
            Some(sub) => sub_path(&root, &sub, !files)?,
            None => root,
        };
        let read_only = files || mount.read_only == Some(true);
        Ok(Mount { host, guest: mount.mount_path.clone(), read_only })
    };
    container.volume_mounts.iter().flatten().map(one).collect()
}

/// A place inside a volume, which neither `..` nor a symbolic link leads out of.
fn sub_path(root: &Path, sub: &str, create: bool) -> Result<PathBuf, String> {
    let refuse = |why: &str| format!("subPath \"{sub}\": {why}");
    if Path::new(sub).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(refuse("must be relative and not contain '..'"));
    }
    let root = root.canonicalize().map_err(|error| refuse(&error.to_string()))?;
    let mut place = root.clone();
    for part in Path::new(sub).components() {
        place.push(part);
        if create && !place.exists() {
            std::fs::create_dir(&place).map_err(|error| refuse(&error.to_string()))?;
        }
        place = place.canonicalize().map_err(|error| refuse(&error.to_string()))?;
        if !place.starts_with(&root) {
            return Err(refuse("leads out of the volume"));
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests;
