//! A disk that forgets what was not synced, and that can be made to refuse.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Builder, Database, DatabaseError, StorageBackend};
use wherry_base::Rng;
use wherry_fixture::{Image, Op};

use crate::disk::{File, Medium};
use crate::{Limits, OpenError, Store, open};

/// Both files, as they are in the cache and on the disk. Clones share them.
#[derive(Clone, Debug)]
pub struct Disk {
    files: Arc<Mutex<HashMap<&'static str, Image>>>,
    is_broken: Arc<AtomicBool>,
    /// How many bytes the files may grow yet.
    free: Arc<AtomicUsize>,
}

impl Default for Disk {
    fn default() -> Self {
        Self::with(HashMap::new())
    }
}

impl Disk {
    pub fn open(&self) -> Result<Store, OpenError> {
        self.open_with(Limits { checkpoint_objects: 7, ..Limits::default() })
    }

    pub fn open_with(&self, limits: Limits) -> Result<Store, OpenError> {
        Ok(Store { inner: Arc::new(open::open(Arc::new(self.clone()), limits, None)?) })
    }

    /// The disk as a power failure leaves it now: of what was not synced, any part may be there.
    pub fn after_power_failure(&self, rng: &Rng) -> Self {
        let after = |image: &Image| image.clone().after_power_failure(|| rng.below(2) == 0);
        Self::with(self.lock().iter().map(|(name, image)| (*name, after(image))).collect())
    }

    /// The disk as it is after all was synced.
    pub fn copy(&self) -> Self {
        Self::with(self.lock().clone())
    }

    fn with(files: HashMap<&'static str, Image>) -> Self {
        let free = Arc::new(AtomicUsize::new(usize::MAX));
        Self { files: Arc::new(Mutex::new(files)), is_broken: Arc::default(), free }
    }

    /// Overwrites a few bytes somewhere in a file.
    pub fn overwrite(&self, name: &'static str, rng: &Rng) {
        let mut files = self.lock();
        let bytes = files.get_mut(name).unwrap().bytes_mut();
        let at = rng.below(bytes.len() - 64);
        bytes[at..at + 1 + rng.below(64)].iter_mut().for_each(|byte| *byte ^= 0x5a);
    }

    pub fn set_free(&self, bytes: usize) {
        self.free.store(bytes, Ordering::SeqCst);
    }

    /// How large a file is.
    pub fn bytes(&self, name: &str) -> usize {
        self.lock()[name].bytes().len()
    }

    pub fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }

    /// No operation ends while this is held.
    pub fn stall(&self) -> impl Drop + '_ {
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Image>> {
        self.files.lock().unwrap()
    }
}

impl Medium for Disk {
    fn path(&self, file: File) -> PathBuf {
        format!("{file:?}").into()
    }

    fn open(&self, file: File, builder: &Builder) -> Result<Database, DatabaseError> {
        let name = if file == File::Log { "log" } else { "state" };
        builder.create_with_backend(Handle { disk: self.clone(), name })
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    name: &'static str,
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut Image) -> T) -> io::Result<T> {
        if self.disk.is_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(act(self.disk.lock().entry(self.name).or_default()))
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.with(|image| image.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        self.with(|image| {
            let bytes = image.bytes().get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })?
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let more = (length as usize).saturating_sub(self.with(|image| image.bytes().len())?);
        let taken = self.disk.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(more));
        taken.map_err(|_| io::Error::other("no space left on the device"))?;
        self.with(|image| image.act(Op::Resize(length as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Image::sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|image| image.act(Op::Write(offset as usize, data.to_vec())))
    }
}
