//! What a pod's containers know names by: `/etc/hosts` and `/etc/resolv.conf`, each one file for all containers of a pod, as a
//! kubelet and its runtimes make them. Engines have such files of their own, but Podman does not share them among containers that
//! share a network.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wherry_runtime::{ContainerSpec, Mount};

use crate::create::Resolver;

/// In the pod's directory.
const FOLDER: &str = "names";
/// Whoever a container runs as reads them.
const MODE: u32 = 0o644;
/// As a kubelet begins it.
const HOSTS: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";

/// The files, made where they are missing, as mounts; none where the pod mounts something of its own. They go with the
/// pod's directory, `NAMESPACE/UID` below that of all pods.
pub fn files(pods_directory: &Path, spec: &ContainerSpec, resolver: &Resolver) -> io::Result<Vec<Mount>> {
    let folder = pods_directory.join(&spec.pod.namespace).join(&spec.pod.uid).join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut mounts = Vec::new();
    for (name, content) in [("hosts", hosts(spec)), ("resolv.conf", resolv_conf(spec, resolver))] {
        let (host, guest) = (folder.join(name), format!("/etc/{name}"));
        if !host.exists() {
            make(&host, &content, &spec.id)?;
        }
        if spec.mounts.iter().all(|mount| mount.guest != guest) {
            mounts.push(Mount { host, guest, read_only: false });
        }
    }
    Ok(mounts)
}

/// Whole or not at all: other containers of the pod start at the same time.
fn make(file: &Path, content: &str, id: &str) -> io::Result<()> {
    let new = file.with_extension(id);
    fs::write(&new, content)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(MODE))?;
    fs::rename(new, file)
}

fn hosts(spec: &ContainerSpec) -> String {
    let own = format!("{}\t{}\n", spec.network.address(), spec.hostname);
    let aliases = spec.network.hosts().iter().map(|(name, address)| format!("{address}\t{name}\n"));
    [HOSTS.to_owned(), own].into_iter().chain(aliases).collect()
}

fn resolv_conf(spec: &ContainerSpec, Resolver { address, domain }: &Resolver) -> String {
    let namespace = &spec.pod.namespace;
    format!("search {namespace}.svc.{domain} svc.{domain} {domain}\nnameserver {address}\noptions ndots:5\n")
}
