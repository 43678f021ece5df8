//! A container's last words: `terminationMessagePath` and `terminationMessagePolicy`.
//!
//! A Linux container has a file there, as a kubelet gives it one. A module has nothing but what is mounted, and no default gives a guest
//! a file: it sees a directory for its message, and only where its pod names a path of its own. What a guest leaves there is not
//! trusted: no link is followed, and only its end is read.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Container;
use rustix::fs::{Mode, OFlags};
use wherry_runtime::{Exit, Mount};

use crate::logs::ReadOptions;

/// What Kubernetes fills in where a pod names no path.
const PATH_DEFAULT: &str = "/dev/termination-log";
const MESSAGE_MODE: u32 = 0o666;
/// How much of a message is kept, from its end.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// How much of a log stands in for a message.
const LOG_LINES_MAX: u64 = 80;
const LOG_BYTES_MAX: usize = 2048;

/// What a container's message is written into, made and empty; none where a volume is mounted there, and for what has no root of its
/// own (`has_root`) where the pod names no path. Does blocking I/O.
pub fn mount(folder: &Path, fields: &Container, mounts: &[Mount], has_root: bool) -> Result<Option<Mount>, String> {
    let Some((path, directory, name)) = place(fields).filter(|(path, ..)| has_root || *path != PATH_DEFAULT) else {
        return Ok(None);
    };
    let guest = if has_root { path } else { directory };
    if mounts.iter().any(|mount| mount.guest.trim_end_matches('/') == guest.trim_end_matches('/')) {
        return Ok(None);
    }
    let host = folder.join(&fields.name);
    let file = host.join(name);
    let fresh = || {
        let _absent = fs::remove_dir_all(&host);
        fs::create_dir_all(&host)?;
        if has_root {
            fs::write(&file, "")?;
            // Whoever the container runs as.
            fs::set_permissions(&file, fs::Permissions::from_mode(MESSAGE_MODE))?;
        }
        io::Result::Ok(())
    };
    fresh().map_err(|error| format!("terminationMessagePath: {}: {error}", host.display()))?;
    let host = if has_root { file } else { host };
    Ok(Some(Mount { host, guest: guest.to_owned(), read_only: false }))
}

/// Where a container's message is read from.
pub fn file(folder: &Path, fields: &Container) -> Option<PathBuf> {
    let (_, _, name) = place(fields)?;
    Some(folder.join(&fields.name).join(name))
}

/// The message's path, its directory and its name there.
fn place(fields: &Container) -> Option<(&str, &str, &str)> {
    let path = fields.termination_message_path.as_deref().unwrap_or(PATH_DEFAULT);
    let (directory, name) = path.rsplit_once('/').filter(|_| path.starts_with('/'))?;
    (!matches!(name, "" | "." | "..")).then_some((path, if directory.is_empty() { "/" } else { directory }, name))
}

/// Whether the end of the log stands in for a message that there is not.
pub fn wants_log(fields: &Container, exit: &Exit) -> bool {
    exit.code != 0 && fields.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
}

/// What of the log is wanted.
pub fn log_options() -> ReadOptions {
    ReadOptions { tail_lines: Some(LOG_LINES_MAX), ..ReadOptions::default() }
}

/// The end of a log.
pub async fn end_of(mut log: BoxStream<'static, io::Result<bytes::Bytes>>) -> String {
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = log.next().await {
        text.extend_from_slice(&chunk);
        let surplus = text.len().saturating_sub(LOG_BYTES_MAX);
        text.drain(..surplus);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The end of a message; empty where there is none. Does blocking I/O.
pub fn read(path: &Path) -> String {
    let done = || -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(Vec::new());
        }
        file.seek(SeekFrom::Start(meta.len().saturating_sub(MESSAGE_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    done().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The runtime's own words and the container's.
pub fn joined(runtime: String, container: &str) -> String {
    match (runtime.is_empty(), container.is_empty()) {
        (_, true) => runtime,
        (true, false) => container.to_owned(),
        (false, false) => format!("{runtime}: {container}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn container(path: &str) -> Container {
        let path = Some(path.to_owned());
        Container { name: "c".into(), termination_message_path: path, ..Container::default() }
    }

    #[test]
    fn a_message_has_a_file_or_for_a_module_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Mount { host: "/v".into(), guest: "/var/log/".into(), read_only: false };
        for (path, module, linux) in [
            (PATH_DEFAULT, None, Some(PATH_DEFAULT)),
            ("/run/message", Some("/run"), Some("/run/message")),
            ("/message", Some("/"), Some("/message")),
            ("/var/log/message", None, Some("/var/log/message")),
            ("/var/log", Some("/var"), None),
            ("/run/", None, None),
            ("/run/..", None, None),
            ("message", None, None),
        ] {
            for (has_root, guest) in [(false, module), (true, linux)] {
                let mounted = mount(folder.path(), &container(path), std::slice::from_ref(&volume), has_root).unwrap();
                let is_file = mounted.as_ref().is_some_and(|mount| mount.host.is_file());
                assert_eq!(is_file, has_root && guest.is_some(), "{path}");
                assert_eq!(mounted.map(|mount| mount.guest).as_deref(), guest, "{path}");
            }
        }
    }

    #[test]
    fn a_message_is_read_from_its_end_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let fields = container("/run/message");
        let path = file(folder.path(), &fields).unwrap();
        assert_eq!(read(&path), "");
        mount(folder.path(), &fields, &[], false).unwrap();
        fs::write(&path, "x".repeat(5000) + "end").unwrap();
        let text = read(&path);
        assert!(text.len() == 4096 && text.ends_with("end"));
        mount(folder.path(), &fields, &[], false).unwrap();
        assert_eq!(read(&path), "", "each run begins with none");
        symlink("/etc/hostname", &path).unwrap();
        assert_eq!(read(&path), "");
    }

    #[test]
    fn words_are_joined() {
        for (runtime, container, expected) in [("", "", ""), ("r", "", "r"), ("", "c", "c"), ("r", "c", "r: c")] {
            assert_eq!(joined(runtime.into(), container), expected);
        }
    }
}
