//! The node's signature on compiled code: native code runs as it is, so only what this node has compiled may be loaded.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;

use crate::images::write;

const KEY_BYTES: usize = 32;

/// A node's key.
#[derive(Clone)]
pub(crate) struct Key(hmac::Key);

impl Key {
    /// The key in a file, made where there is none; readable by the node alone.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match fs::File::open(path) {
            Ok(mut file) => drop(file.read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => bytes = make(path)?,
            Err(error) => return Err(error),
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Signs what a file contains.
    pub(crate) fn sign(&self, file: &Path, content: &[u8]) -> io::Result<()> {
        write(&beside(file), hmac::sign(&self.0, content).as_ref())
    }

    /// Whether a file is there as it was signed.
    pub(crate) fn has_signed(&self, file: &Path) -> bool {
        let (Ok(content), Ok(signature)) = (fs::read(file), fs::read(beside(file))) else { return false };
        hmac::verify(&self.0, &content, &signature).is_ok()
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
        assert!(!key.has_signed(&file));
        key.sign(&file, b"code").unwrap();
        assert!(key.has_signed(&file) && Key::of(&scratch.path().join("key")).unwrap().has_signed(&file));
        assert!(!Key::of(&scratch.path().join("other")).unwrap().has_signed(&file));
        fs::write(&file, "codf").unwrap();
        assert!(!key.has_signed(&file));
    }
}
