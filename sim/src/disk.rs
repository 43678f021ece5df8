//! A master's disk: in memory, forgets what was not synced when the power fails, and may fail in the middle of a write.
//!
//! The power fails by way of the disk: it takes so many more operations and then none, the last one torn. What a host
//! does once its disk is dead reaches nobody (see `net`), so that it died at that very operation.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wherry_base::Rng;
use wherry_fixture::{Image, Op};
use wherry_store::medium::{Builder, Database, DatabaseError, File, Medium, StorageBackend};

/// Both files. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<File, Image>,
    /// How many operations it takes yet, where that is decided.
    left: Option<usize>,
    /// A planted bug: it says that what was written is safe, which it is not.
    lies: bool,
}

impl Disk {
    /// A disk that syncs nothing and says that it did.
    pub fn lying() -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { lies: true, ..Inner::default() })) }
    }

    /// The power fails after so many more operations.
    pub fn die_after(&self, operations: usize) {
        self.lock().left = Some(operations);
    }

    /// Whether the power has failed.
    pub fn is_dead(&self) -> bool {
        self.lock().left == Some(0)
    }

    /// What is there when the power is back: of what was not synced, any part.
    pub fn after_power_failure(&self, rng: &Rng) -> Self {
        let inner = self.lock();
        let after = |image: &Image| image.clone().after_power_failure(|| rng.below(2) == 0);
        let files = inner.files.iter().map(|(file, image)| (*file, after(image))).collect();
        Self { inner: Arc::new(Mutex::new(Inner { files, left: None, lies: inner.lies })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium for Disk {
    fn path(&self, file: File) -> PathBuf {
        format!("{file:?}").into()
    }

    fn open(&self, file: File, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(Handle { disk: self.clone(), file })
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    file: File,
}

impl Handle {
    fn read_with<T>(&self, look: impl FnOnce(&Image) -> T) -> io::Result<T> {
        let mut inner = self.disk.lock();
        if inner.left == Some(0) { Err(dead()) } else { Ok(look(inner.files.entry(self.file).or_default())) }
    }

    fn act(&self, op: Op) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let left = inner.left.as_mut().map(|left| {
            *left = left.saturating_sub(1);
            *left
        });
        let image = inner.files.entry(self.file).or_default();
        if left == Some(0) {
            image.tear(op);
            return Err(dead());
        }
        image.act(op);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let Inner { files, left, lies } = &mut *inner;
        if let Some(left) = left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(dead());
            }
        }
        let image = files.entry(self.file).or_default();
        if !*lies {
            image.sync();
        }
        Ok(())
    }
}

fn dead() -> io::Error {
    io::Error::other("the power has failed")
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.read_with(|image| image.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = place(offset)?;
        self.read_with(|image| {
            let bytes = image.bytes().get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })?
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.act(Op::Resize(place(length)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.act(Op::Write(place(offset)?, data.to_vec()))
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &Disk) -> Handle {
        Handle { disk: disk.clone(), file: File::Log }
    }

    fn read(disk: &Disk) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 4];
        written(disk).read(0, &mut bytes).map(|()| bytes)
    }

    #[test]
    fn what_was_synced_is_there_after_a_power_failure_and_the_rest_may_be() {
        let outcomes = |lies: bool| {
            let seen = (0..50).map(|seed| {
                let disk = if lies { Disk::lying() } else { Disk::default() };
                let handle = written(&disk);
                handle.write(0, b"aaaa").unwrap();
                handle.sync_data().unwrap();
                disk.die_after(1);
                assert!(handle.write(0, b"bbbb").is_err() && disk.is_dead() && read(&disk).is_err());
                read(&disk.after_power_failure(&Rng::seeded(seed))).ok()
            });
            seen.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(outcomes(false), [Some(b"aaaa".to_vec()), Some(b"bbaa".to_vec())].into());
        assert!(outcomes(true).contains(&None), "a disk that lies loses what it was said to have");
    }
}
