//! The node's signature on compiled code: native code runs as it is, so only what this node has compiled may be loaded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use crate::images::write;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;

/// A node's key.
#[derive(Clone)]
pub(crate) struct Key(hmac::Key);

impl Key {
    /// The key in a file, made where there is none; readable by the node alone.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => drop(file.read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => bytes = make(path)?,
            Err(error) => return Err(error),
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Signs what a file contains, and what is to be known of it.
    pub(crate) fn sign(&self, file: &Path, label: &str, content: &[u8]) -> io::Result<()> {
        write(&beside(file), &[self.tag(label, content).as_ref(), label.as_bytes()].concat())
    }

    /// The file, open, and its label, where both are as they were signed.
    pub(crate) fn signed(&self, file: &Path) -> Option<(String, File)> {
        let (mut file, signature) = (File::open(file).ok()?, fs::read(beside(file)).ok()?);
        let (tag, label) = signature.split_at_checked(TAG_BYTES)?;
        let (label, mut content) = (std::str::from_utf8(label).ok()?, Vec::new());
        file.read_to_end(&mut content).ok()?;
        verify_slices_are_equal(tag, self.tag(label, &content).as_ref()).ok()?;
        Some((label.to_owned(), file))
    }

    fn tag(&self, label: &str, content: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        [label.as_bytes(), b"\n", content].into_iter().for_each(|part| context.update(part));
        context.sign()
    }
}

fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

fn beside(file: &Path) -> PathBuf {
    file.with_extension("signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_with_this_key_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let (key, file) = (Key::of(&scratch.path().join("key")).unwrap(), scratch.path().join("code.cwasm"));
        fs::write(&file, "code").unwrap();
        let label = |key: &Key| key.signed(&file).map(|(label, _)| label);
        assert_eq!(label(&key), None);
        key.sign(&file, "form", b"code").unwrap();
        assert_eq!(label(&key).as_deref(), Some("form"));
        assert_eq!(label(&Key::of(&scratch.path().join("key")).unwrap()).as_deref(), Some("form"));
        assert_eq!(label(&Key::of(&scratch.path().join("other")).unwrap()), None);
        fs::write(&file, "codf").unwrap();
        assert_eq!(label(&key), None);
        fs::write(&file, "code").unwrap();
        let signature = fs::read(beside(&file)).unwrap();
        fs::write(beside(&file), [&signature[..], b"s"].concat()).unwrap();
        assert_eq!(label(&key), None);
    }
}
