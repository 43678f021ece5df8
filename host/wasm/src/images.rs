//! Modules of this node: fetched once, kept by digest, compiled once for each engine that needs them.
//!
//! `DATA/modules/HEX.wasm` are modules, `DATA/compiled/ENGINE-HEX.cwasm` their code. The directory is the node's alone, and
//! compiled code is signed with the node's key (`DATA/key`): what does not match is compiled again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wherry_image::{FetchError, ImageSource, InspectError, ModuleKind, Reference, inspect};
use wherry_runtime::{Image, ImageError, ImageKind, PullPolicy};

use crate::codes::{Codes, Compiled, Form};
use crate::signature::Key;

/// How many names are remembered with their digests; the file is the truth for the rest.
const NAMES_MAX: usize = 65_536;

/// The modules of this node.
pub(crate) struct Images {
    source: Arc<dyn ImageSource>,
    directory: PathBuf,
    key: Key,
    /// What each name stood for when it was last asked.
    names: Mutex<HashMap<String, String>>,
    /// The code whose signature was checked: the open files, so that they are those that were checked.
    checked: Mutex<HashMap<PathBuf, File>>,
}

impl Images {
    pub(crate) fn open(source: Arc<dyn ImageSource>, directory: &Path) -> io::Result<Self> {
        for folder in ["modules", "compiled", "names"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory.join(folder))?;
        }
        let key = Key::of(&directory.join("key"))?;
        let (directory, names, checked) = (directory.to_owned(), Mutex::default(), Mutex::default());
        Ok(Self { source, directory, key, names, checked })
    }

    /// Makes a module ready: found or fetched by the policy, checked, compiled.
    pub(crate) async fn prepare(
        &self,
        codes: &Arc<Codes>,
        name: &str,
        policy: PullPolicy,
    ) -> Result<Image, ImageError> {
        let reference: Reference = name.parse().map_err(|_| ImageError::BadName(name.to_owned()))?;
        let digest = self.digest(&reference, policy).await?;
        let kind = match self.form(codes, &reference, &digest, policy).await?.kind {
            ModuleKind::Http2 | ModuleKind::Http3 => ImageKind::Http,
            _ => ImageKind::Command,
        };
        Ok(Image { reference: name.to_owned(), digest, kind })
    }

    /// The file with the code of a module that was prepared before, its signature checked.
    pub(crate) fn compiled(&self, codes: &Codes, digest: &str) -> io::Result<wherry_runtime::Code> {
        let form = codes.form(digest).ok_or(io::ErrorKind::NotFound)?;
        let engine = codes.key(form).map_err(io::Error::other)?;
        let path = compiled_file(&self.directory, &engine, digest);
        Ok(wherry_runtime::Code { file: self.checked(path)?, form: form.to_string() })
    }

    /// An open file whose signature was checked when it was first asked for.
    fn checked(&self, path: PathBuf) -> io::Result<File> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = checked.get(&path) {
            return file.try_clone();
        }
        if !self.key.has_signed(&path) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the compiled code's signature does not match"));
        }
        let file = File::open(&path)?;
        checked.insert(path, file.try_clone()?);
        Ok(file)
    }

    async fn digest(&self, reference: &Reference, policy: PullPolicy) -> Result<String, ImageError> {
        let name = reference.to_string();
        let known = self.known_digest(&name);
        match (policy, known) {
            (PullPolicy::IfNotPresent | PullPolicy::Never, Some(digest)) => Ok(digest),
            (PullPolicy::Never, None) => Err(ImageError::NeverPull(name)),
            (_, _) => {
                let digest = self.source.resolve(reference).await.map_err(|e| pull_error(&name, &e))?;
                self.remember(&name, &digest);
                Ok(digest)
            }
        }
    }

    fn known_digest(&self, name: &str) -> Option<String> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = names.get(name) {
            return Some(digest.clone());
        }
        let digest =
            fs::read_to_string(self.name_file(name)).ok().filter(|digest| self.module_file(digest).exists())?;
        if names.len() < NAMES_MAX {
            names.insert(name.to_owned(), digest.clone());
        }
        Some(digest)
    }

    fn remember(&self, name: &str, digest: &str) {
        if let Err(error) = write(&self.name_file(name), digest.as_bytes()) {
            tracing::warn!(%name, %error, "an image's digest could not be kept; it is asked for again next time");
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < NAMES_MAX {
            names.insert(name.to_owned(), digest.to_owned());
        }
    }

    async fn form(
        &self,
        codes: &Arc<Codes>,
        reference: &Reference,
        digest: &str,
        policy: PullPolicy,
    ) -> Result<Form, ImageError> {
        let cell = codes.cell(digest);
        let compiled = cell.get_or_try_init(|| async {
            let module = self.module(reference, digest, policy).await?;
            let (codes, key, name) = (Arc::clone(codes), self.key.clone(), reference.to_string());
            let (directory, digest) = (self.directory.clone(), digest.to_owned());
            let compile = move || {
                compile(&codes, &key, &module, |engine| compiled_file(&directory, engine, &digest))
                    .map_err(|why| ImageError::Unusable(format!("{name}: {why}")))
            };
            let compiled = tokio::task::spawn_blocking(compile).await;
            compiled.map_err(|e| ImageError::Unusable(format!("{reference}: compiling failed: {e}")))?
        });
        Ok(compiled.await?.form)
    }

    async fn module(&self, reference: &Reference, digest: &str, policy: PullPolicy) -> Result<Bytes, ImageError> {
        let file = self.module_file(digest);
        if let Ok(bytes) = fs::read(&file)
            && digest_of(&bytes) == digest
        {
            return Ok(bytes.into());
        }
        let name = reference.to_string();
        if policy == PullPolicy::Never {
            return Err(ImageError::NeverPull(name));
        }
        let bytes = self.source.fetch(reference, digest).await.map_err(|e| pull_error(&name, &e))?;
        if digest_of(&bytes) != digest {
            return Err(ImageError::Pull(format!("{name}: the registry sent something other than {digest}")));
        }
        write(&file, &bytes).map_err(|e| ImageError::Pull(format!("{name}: cannot be kept: {e}")))?;
        Ok(bytes)
    }

    fn module_file(&self, digest: &str) -> PathBuf {
        self.directory.join("modules").join(format!("{}.wasm", hex(digest)))
    }

    /// Names hold slashes and colons; their digests do not.
    fn name_file(&self, name: &str) -> PathBuf {
        self.directory.join("names").join(hex(&digest_of(name.as_bytes())))
    }
}

fn pull_error(name: &str, error: &FetchError) -> ImageError {
    let hint = if matches!(error, FetchError::NotFound(_)) { "; load it with `wherry image load`" } else { "" };
    ImageError::Pull(format!("failed to pull image \"{name}\": {error}{hint}"))
}

/// The code of a module: from the cache, or compiled and cached. The error is a sentence.
fn compile(codes: &Codes, key: &Key, module: &[u8], place: impl Fn(&str) -> PathBuf) -> Result<Compiled, String> {
    let text = |e: wasmtime::Error| format!("{e:#}");
    let form = codes.form_of(&inspect(module).map_err(|e: InspectError| e.to_string())?);
    let file = place(&codes.key(form).map_err(text)?);
    if !key.has_signed(&file) {
        let compiled = codes.compile(form, module).map_err(text)?;
        let cached = write(&file, &compiled).and_then(|()| key.sign(&file, &compiled));
        cached.map_err(|e| format!("its code cannot be kept: {e}"))?;
    }
    Ok(Compiled::new(form, File::open(file).map_err(|e| e.to_string())?))
}

/// Where the code of a module for an engine is.
fn compiled_file(directory: &Path, engine: &str, digest: &str) -> PathBuf {
    directory.join("compiled").join(format!("{engine}-{}.cwasm", hex(digest)))
}

/// Writes a file whole or not at all; of several at once the last one stays.
pub(crate) fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = file.with_extension(format!("{}-{number}.new", std::process::id()));
    fs::write(&temporary, content)?;
    fs::rename(&temporary, file)
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_by_several_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("name");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let file = &file;
                scope.spawn(move || (0..50).for_each(|_| write(file, &[writer; 64]).unwrap()));
            }
        });
        let content = fs::read(&file).unwrap();
        assert!(content.len() == 64 && content.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
