//! Modules of this node: fetched once, kept by digest, compiled once with epochs and once without where that is asked for.
//!
//! `DATA/modules/HEX.wasm` are modules, `DATA/compiled/HEX.cwasm` (`HEX-free.cwasm` without epochs) their code, and `DATA/names`
//! what names stand for. The directory is the node's alone, and compiled code is signed with the node's key (`DATA/key`), together with its form and its engine's
//! settings: what does not match is compiled again. Nothing here reads a module or loads its code.

mod stored;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use wherry_image::{FetchError, ImageSource, ModuleKind, Reference};
use wherry_runtime::{Code, Codegen, Compiler, Fetch, Image, ImageError, ImageKind, ImageRequest, PullPolicy};

use crate::codes::Form;
use crate::compile::parse;
use crate::engine::{key, release};
use crate::runtime::SetupError;
use crate::signature::Key;

/// How many names are remembered with their digests; the file is the truth for the rest.
const NAMES_MAX: usize = 65_536;
/// How many modules are compiled at once; further ones wait.
const COMPILED_AT_ONCE_MAX: usize = 2;

/// The modules of this node.
pub struct Images {
    source: Arc<dyn ImageSource>,
    codegen: Arc<dyn Codegen>,
    directory: PathBuf,
    key: Key,
    /// What each name stood for when it was last asked.
    names: Mutex<HashMap<String, String>>,
    /// By digest, and whether the code counts epochs.
    compiled: Mutex<HashMap<(String, bool), Cell>>,
    compiling: Semaphore,
}

/// Filled by the one task that compiles; the others wait.
type Cell = Arc<OnceCell<Compiled>>;

/// Code whose signature was checked: the open file, so that it is the one that was.
struct Compiled {
    form: Form,
    file: File,
}

/// Makes images ready whose code counts epochs, or does not.
struct ImageCompiler {
    images: Arc<Images>,
    epochs: bool,
    release: String,
}

impl Images {
    /// Those that are kept in a directory, which is made where it is missing.
    pub fn open(
        source: Arc<dyn ImageSource>,
        codegen: Arc<dyn Codegen>,
        directory: &Path,
    ) -> Result<Arc<Self>, SetupError> {
        for folder in ["modules", "compiled", "names"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory.join(folder))?;
        }
        let key = Key::of(&directory.join("key"))?;
        let (directory, names, compiled) = (directory.to_owned(), Mutex::default(), Mutex::default());
        let compiling = Semaphore::new(COMPILED_AT_ONCE_MAX);
        Ok(Arc::new(Self { source, codegen, directory, key, names, compiled, compiling }))
    }

    /// What makes images ready for other processes; their code counts `epochs`, at which it yields, or is for processes that
    /// the operating system limits and ends.
    pub fn compiler(self: &Arc<Self>, epochs: bool) -> Result<Arc<dyn Compiler>, SetupError> {
        let release = release().map_err(SetupError::Engine)?;
        Ok(Arc::new(ImageCompiler { images: Arc::clone(self), epochs, release }))
    }

    /// Makes a module ready: found or fetched by the policy, checked, compiled.
    pub(crate) async fn prepare(&self, wanted: &ImageRequest<'_>, epochs: bool) -> Result<Image, ImageError> {
        let name = wanted.reference;
        let reference: Reference = name.parse().map_err(|_| ImageError::BadName(name.to_owned()))?;
        let digest = self.digest(&reference, wanted).await?;
        let kind = match self.form(&reference, &digest, wanted, epochs).await?.kind {
            ModuleKind::Http2 | ModuleKind::Http3 => ImageKind::Http,
            _ => ImageKind::Command,
        };
        let size_bytes = fs::metadata(self.module_file(&digest)).map_or(0, |file| file.len());
        (wanted.tell)(Fetch::Done { size_bytes });
        Ok(Image { reference: name.to_owned(), digest, kind })
    }

    /// The code of a module that was prepared before.
    pub(crate) fn code(&self, digest: &str, epochs: bool) -> io::Result<Code> {
        let cell = self.cell(digest, epochs);
        let Compiled { form, file } = cell.get().ok_or(io::ErrorKind::NotFound)?;
        Ok(Code { file: file.try_clone()?, form: form.to_string() })
    }

    fn cell(&self, digest: &str, epochs: bool) -> Cell {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(compiled.entry((digest.to_owned(), epochs)).or_default())
    }

    async fn digest(&self, reference: &Reference, wanted: &ImageRequest<'_>) -> Result<String, ImageError> {
        let name = reference.to_string();
        match (wanted.policy, self.known_digest(&name)) {
            (PullPolicy::IfNotPresent | PullPolicy::Never, Some(digest)) => return Ok(digest),
            (PullPolicy::Never, None) => return Err(ImageError::NeverPull(name)),
            // What the cluster's registry has not may be a Linux image that is here: fetching begins with the module then.
            (PullPolicy::IfNotPresent, None) if reference.registry.is_empty() => {}
            (PullPolicy::Always | PullPolicy::IfNotPresent, _) => (wanted.tell)(Fetch::Begun),
        }
        let digest = self.source.resolve(reference, wanted.logins).await.map_err(|e| pull_error(&name, &e))?;
        self.remember(&name, &digest);
        Ok(digest)
    }

    fn known_digest(&self, name: &str) -> Option<String> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = names.get(name) {
            return Some(digest.clone());
        }
        let kept = fs::read_to_string(self.name_file(name)).ok()?;
        let digest = named(&kept).0.to_owned();
        if !self.module_file(&digest).exists() {
            return None;
        }
        if names.len() < NAMES_MAX {
            names.insert(name.to_owned(), digest.clone());
        }
        Some(digest)
    }

    fn remember(&self, name: &str, digest: &str) {
        if let Err(error) = write(&self.name_file(name), format!("{digest} {name}").as_bytes()) {
            tracing::warn!(%name, %error, "an image's digest could not be kept; it is asked for again next time");
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < NAMES_MAX {
            names.insert(name.to_owned(), digest.to_owned());
        }
    }

    /// The form of a module's code, which is in the cache then.
    async fn form(
        &self,
        reference: &Reference,
        digest: &str,
        wanted: &ImageRequest<'_>,
        epochs: bool,
    ) -> Result<Form, ImageError> {
        let cell = self.cell(digest, epochs);
        let compiled = cell.get_or_try_init(|| async {
            let (key, place) = (self.key.clone(), self.code_file(digest, epochs));
            let unusable = |why| ImageError::Unusable(format!("{reference}: {why}"));
            let (its_key, its_place) = (key.clone(), place.clone());
            if let Some(kept) = blocking(move || Ok(kept(&its_key, &its_place))).await.map_err(unusable)? {
                return Ok(kept);
            }
            let module = self.module(reference, digest, wanted).await?;
            let _turn = self.compiling.acquire().await;
            let answer = self.codegen.generate(module, epochs).await.map_err(unusable)?;
            blocking(move || keep(&key, &place, &answer, epochs)).await.map_err(unusable)
        });
        Ok(compiled.await?.form)
    }

    async fn module(
        &self,
        reference: &Reference,
        digest: &str,
        wanted: &ImageRequest<'_>,
    ) -> Result<Bytes, ImageError> {
        let file = self.module_file(digest);
        if let Ok(bytes) = fs::read(&file)
            && digest_of(&bytes) == digest
        {
            return Ok(bytes.into());
        }
        let name = reference.to_string();
        if wanted.policy == PullPolicy::Never {
            return Err(ImageError::NeverPull(name));
        }
        (wanted.tell)(Fetch::Begun);
        let bytes = self.source.fetch(reference, digest, wanted.logins).await;
        let bytes = bytes.map_err(|e| pull_error(&name, &e))?;
        if digest_of(&bytes) != digest {
            return Err(ImageError::Pull(format!("{name}: the registry sent something other than {digest}")));
        }
        write(&file, &bytes).map_err(|e| ImageError::Pull(format!("{name}: cannot be kept: {e}")))?;
        Ok(bytes)
    }

    fn module_file(&self, digest: &str) -> PathBuf {
        self.directory.join("modules").join(format!("{}.wasm", hex(digest)))
    }

    fn code_file(&self, digest: &str, epochs: bool) -> PathBuf {
        let kind = if epochs { "" } else { "-free" };
        self.directory.join("compiled").join(format!("{}{kind}.cwasm", hex(digest)))
    }

    /// Names hold slashes and colons; their digests do not.
    fn name_file(&self, name: &str) -> PathBuf {
        self.directory.join("names").join(hex(&digest_of(name.as_bytes())))
    }
}

/// The digest that a file of `names` has, and the name, which earlier releases did not write.
fn named(kept: &str) -> (&str, Option<&str>) {
    kept.split_once(' ').map_or((kept, None), |(digest, name)| (digest, Some(name)))
}

fn pull_error(name: &str, error: &FetchError) -> ImageError {
    if let FetchError::NotAModule(_) = error {
        return ImageError::OtherKind(format!("image \"{name}\" is a Linux image, and no wasm module"));
    }
    let hint = if matches!(error, FetchError::NotFound(_)) { "; load it with `wherry image load`" } else { "" };
    ImageError::Pull(format!("failed to pull image \"{name}\": {error}{hint}"))
}

#[async_trait]
impl Compiler for ImageCompiler {
    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        self.images.prepare(wanted, self.epochs).await
    }

    fn code(&self, digest: &str) -> io::Result<Code> {
        self.images.code(digest, self.epochs)
    }

    fn engine(&self) -> String {
        self.release.clone()
    }
}

/// Runs what blocks. The error is a sentence.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("compiling failed: {error}"))?
}

/// Code that is in the cache, of this release.
fn kept(key: &Key, place: &Path) -> Option<Compiled> {
    let (label, file) = key.signed(place)?;
    let (form, _) = label.split_once(' ')?;
    let form = form.parse().ok()?;
    (label_of(form).ok()? == label).then_some(Compiled { form, file })
}

/// Puts code into the cache. The error is a sentence.
fn keep(key: &Key, place: &Path, answer: &[u8], epochs: bool) -> Result<Compiled, String> {
    let (form, code) = parse(answer)
        .filter(|(form, _)| form.needs.epochs == epochs)
        .ok_or("the compiler was ended by the module, or answers what was not asked")?;
    let label = label_of(form).map_err(|error| format!("{error:#}"))?;
    let written = write(place, code).and_then(|()| key.sign(place, &label, code));
    written.map_err(|error| format!("its code cannot be kept: {error}"))?;
    kept(key, place).ok_or_else(|| "its code was changed before it could be used".to_owned())
}

/// What is signed together with code.
fn label_of(form: Form) -> wasmtime::Result<String> {
    Ok(format!("{form} {}", key(form.needs)?))
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
