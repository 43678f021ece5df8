//! The two redb files: `log.redb`, which every answer waits for, and `state.redb`, which trails behind it.
//!
//! Owns their opening, their format number and the translation of redb's errors. What stands in them is the
//! business of [`log`] and [`state`].

pub(crate) mod log;
pub(crate) mod record;
pub(crate) mod state;

use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableTable, TableDefinition};

use crate::OpenError;

/// The format that this release writes.
const FORMAT: u32 = 1;

/// Cached pages: objects live in our own memory, so redb's cache needs to hold little more than branches.
const CACHE_BYTES: usize = 8 << 20;

/// Small facts about a file, by name.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";

/// Any failure of redb.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Log,
    State,
}

/// Where the files are; a test puts its own storage here.
pub(crate) trait Medium: Send + Sync + 'static {
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
    let database = medium.open(file, &builder).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path()),
        other => io(other.into()),
    })?;
    match ensure_format(&database).map_err(io)? {
        found if found > FORMAT => Err(OpenError::Newer { path: path(), found, known: FORMAT }),
        _ => Ok(database),
    }
}

/// The file's format; a new file gets this release's.
fn ensure_format(database: &Database) -> Result<u32, Fault> {
    let write = database.begin_write()?;
    let found = write.open_table(META)?.get(META_FORMAT)?.map(|format| format.value());
    if let Some(found) = found {
        write.abort()?;
        return Ok(u32::try_from(found).unwrap_or(u32::MAX));
    }
    write.open_table(META)?.insert(META_FORMAT, u64::from(FORMAT))?;
    write.commit()?;
    Ok(FORMAT)
}
