//! `cp`: files and directories between this machine and a container, which must have `tar`.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tokio_util::io::SyncIoBridge;
use wherry_streaming::remote_command::{Outcome, Wanted};

use crate::args::{ClusterArgs, CopyArgs};
use crate::command::{Session, exec_path};
use crate::pods::one_pod;

/// How much of an archive waits between the two ends, in bytes.
const PIPE_BYTES: usize = 256 << 10;

/// An end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Here(PathBuf),
    There { namespace: Option<String>, pod: String, path: String },
}

/// A container, as `cp` needs it.
struct Remote<'a> {
    cluster: &'a ClusterArgs,
    pod: Value,
    container: Option<&'a str>,
}

/// Copies in whichever direction is asked for.
pub async fn run(mut args: CopyArgs) -> anyhow::Result<()> {
    let (from, to) = (Place::parse(&args.from), Place::parse(&args.to));
    let there = match (&from, &to) {
        (Place::There { namespace, pod, .. }, Place::Here(_))
        | (Place::Here(_), Place::There { namespace, pod, .. }) => {
            args.cluster.namespace = namespace.clone().unwrap_or(args.cluster.namespace);
            pod
        }
        _ => bail!("one of the places must be POD:PATH, and only one"),
    };
    let pod = one_pod(&args.cluster.client()?, &args.cluster.namespace, there).await?;
    let remote = Remote { cluster: &args.cluster, pod, container: args.container.as_deref() };
    match (&from, &to) {
        (Place::Here(from), Place::There { path, .. }) => remote.upload(from, path).await,
        (Place::There { path, .. }, Place::Here(to)) => remote.download(path, to).await,
        _ => Ok(()),
    }
}

impl Place {
    /// Reads `PATH`, `POD:PATH` or `NAMESPACE/POD:PATH`. A path that begins with `/` or `.` is one here.
    fn parse(text: &str) -> Self {
        match text.split_once(':').filter(|_| !text.starts_with(['/', '.'])) {
            None => Self::Here(text.into()),
            Some((pod, path)) => {
                let (namespace, pod) = pod.split_once('/').map_or((None, pod), |(space, pod)| (Some(space), pod));
                Self::There { namespace: namespace.map(str::to_owned), pod: pod.to_owned(), path: path.to_owned() }
            }
        }
    }
}

/// The directory that a path lies in, and its own name there.
fn split(path: &str) -> anyhow::Result<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    if matches!(name, "" | "." | "..") {
        bail!("\"{path}\" names neither a file nor a directory to copy");
    }
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

impl Remote<'_> {
    /// Runs a program there, coupled with these.
    async fn exec(&self, words: &[&str], stdin: bool, ends: (DuplexStream, DuplexStream)) -> anyhow::Result<()> {
        let wanted = Wanted { stdin, stdout: true, stderr: true, tty: false };
        let path = exec_path(self.cluster, &self.pod, self.container, wanted, words)?;
        match (Session { wanted, quiet: true }).carry(self.cluster, &path, ends).await? {
            Outcome::Exited(0) => Ok(()),
            Outcome::Exited(code) => bail!("command terminated with exit code {code}"),
            Outcome::Failed(message) => bail!(message),
        }
    }

    async fn upload(&self, from: &Path, to: &str) -> anyhow::Result<()> {
        let own = from.canonicalize().with_context(|| from.display().to_string())?;
        let own_name = own.file_name().and_then(|name| name.to_str()).context("the file has no name")?.to_owned();
        let is_into = self.exec(&["test", "-d", to], false, (duplex(1).0, duplex(PIPE_BYTES).0)).await.is_ok();
        let (directory, name) = if is_into { (to, own_name.as_str()) } else { split(to)? };
        let (name, (archive, typed)) = (name.to_owned(), duplex(PIPE_BYTES));
        let packing = tokio::task::spawn_blocking(move || pack(&own, &name, SyncIoBridge::new(archive)));
        let words = ["tar", "-xmf", "-", "-C", directory];
        let unpacking = self.exec(&words, true, (typed, duplex(PIPE_BYTES).0));
        let (unpacked, packed) = futures::join!(unpacking, packing);
        unpacked?;
        Ok(packed??)
    }

    async fn download(&self, from: &str, to: &Path) -> anyhow::Result<()> {
        let (directory, name) = split(from)?;
        let target = if to.is_dir() { to.join(name) } else { to.to_owned() };
        let beside = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // What comes is not to be trusted: it goes where there is nothing else, and only what was asked for is taken from there.
        let place = tempfile::Builder::new().prefix(".wherry-cp-").tempdir_in(beside)?;
        let (printed, archive) = duplex(PIPE_BYTES);
        let root = place.path().to_owned();
        let unpacking = tokio::task::spawn_blocking(move || tar::Archive::new(SyncIoBridge::new(archive)).unpack(root));
        let words = ["tar", "-cf", "-", "-C", directory, name];
        let packing = self.exec(&words, false, (duplex(1).0, printed));
        let (packed, unpacked) = futures::join!(packing, unpacking);
        packed?;
        unpacked??;
        let found = place.path().join(name);
        std::fs::rename(&found, &target).with_context(|| format!("cannot make {}", target.display()))
    }
}

/// Writes a file or directory, under that name, as an archive.
fn pack(from: &Path, name: &str, to: impl io::Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    archive.follow_symlinks(false);
    if from.is_dir() {
        archive.append_dir_all(name, from)?
    } else {
        archive.append_path_with_name(from, name)?
    }
    archive.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_kubectl_reads_them() {
        let there = |namespace: Option<&str>, pod: &str, path: &str| Place::There {
            namespace: namespace.map(str::to_owned),
            pod: pod.to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(Place::parse("web:/tmp/x"), there(None, "web", "/tmp/x"));
        assert_eq!(Place::parse("ns/web:x"), there(Some("ns"), "web", "x"));
        for here in ["x", "./a:b", "/a:b"] {
            assert_eq!(Place::parse(here), Place::Here(here.into()));
        }
    }

    #[test]
    fn paths_have_a_directory_and_a_name() {
        for (path, expected) in [("/a/b/", ("/a", "b")), ("/a", ("/", "a")), ("a", (".", "a")), ("a/b", ("a", "b"))] {
            assert_eq!(split(path).unwrap(), expected);
        }
        for path in ["/", "", ".", "a/.."] {
            assert!(split(path).is_err(), "{path}");
        }
    }
}
