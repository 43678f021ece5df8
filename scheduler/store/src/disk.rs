//! The two redb files: `log.redb`, which every answer waits for, and `state.redb`, which trails behind it.
//!
//! Owns their opening, their format number, whose they are, and the translation of redb's errors. What stands in them is the
//! business of [`log`] and [`state`].

pub(crate) mod legacy;
mod load;
pub(crate) mod log;
pub(crate) mod record;
pub(crate) mod seal;
pub(crate) mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use crate::OpenError;

/// The format that this release writes.
const FORMAT: u32 = 2;

/// Cached pages: objects live in our own memory, so redb's cache needs to hold little more than branches.
const CACHE_BYTES: usize = 8 << 20;

/// Small facts about a file, by name.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
const META_MEMBER: &str = "member";

/// Any failure of redb.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// What every answer waits for.
    Log,
    /// What trails behind it.
    State,
}

/// Where the files are; tests and the simulation put their own storage here.
pub trait Medium: Send + Sync + 'static {
    /// What to call a file in messages.
    fn path(&self, file: File) -> PathBuf;

    /// Opens a file, or makes it.
    fn open(&self, file: File, builder: &Builder) -> Result<Database, DatabaseError>;
}

/// A directory of the file system.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// The directory, made where it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(path)
            .map_err(|source| OpenError::Io { path: path.to_owned(), source: source.into() })?;
        Ok(Self(path.to_owned()))
    }
}

impl Medium for Directory {
    fn path(&self, file: File) -> PathBuf {
        self.0.join(match file {
            File::Log => "log.redb",
            File::State => "state.redb",
        })
    }

    fn open(&self, file: File, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create(self.path(file))
    }
}

/// Memory that is gone when the store is.
pub(crate) struct Volatile;

impl Medium for Volatile {
    fn path(&self, _: File) -> PathBuf {
        PathBuf::from("memory")
    }

    fn open(&self, _: File, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(redb::backends::InMemoryBackend::new())
    }
}

/// Opens a file and sees that its format is known.
pub(crate) fn open(medium: &dyn Medium, file: File) -> Result<Database, OpenError> {
    let path = || medium.path(file);
    let io = |source: Fault| OpenError::Io { path: path(), source };
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let database = sound(|| Ok(medium.open(file, &builder))).map_err(io)?.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path()),
        other => io(other.into()),
    })?;
    match format(&database).map_err(io)? {
        Some(found) if found > FORMAT => Err(OpenError::Newer { path: path(), found, known: FORMAT }),
        _ => Ok(database),
    }
}

/// Works on a file that may be damaged: redb panics over some of what it cannot read.
pub(crate) fn sound<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the file is damaged".into()))
}

/// The file's format; none while it is new.
pub(crate) fn format(database: &Database) -> Result<Option<u32>, Fault> {
    Ok(meta(database, META_FORMAT)?.map(|format| u32::try_from(format).unwrap_or(u32::MAX)))
}

/// Whose file it is; none while it is new, or of an older format.
pub(crate) fn member(database: &Database) -> Result<Option<u64>, Fault> {
    meta(database, META_MEMBER)
}

fn meta(database: &Database, name: &str) -> Result<Option<u64>, Fault> {
    match database.begin_read()?.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(table?.get(name)?.map(|value| value.value())),
    }
}

/// Says what format the file has from now on, and whose it is.
pub(crate) fn stamp(write: &WriteTransaction, member: u64) -> Result<(), Fault> {
    let mut meta = write.open_table(META)?;
    meta.insert(META_FORMAT, u64::from(FORMAT))?;
    meta.insert(META_MEMBER, member)?;
    Ok(())
}
