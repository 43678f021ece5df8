//! The write-ahead log: one row for each group of changes, durable before anyone is answered.
//!
//! Also keeps the revision up to which numbers may have been handed out, so that none is used twice after a crash
//! although changes of volatile resources are not logged.

use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Fault, File, META, Medium, record};
use crate::OpenError;

/// Groups by the revision of their last change.
const GROUPS: TableDefinition<u64, &[u8]> = TableDefinition::new("groups");
const META_RESERVED: &str = "reserved";

/// How many old groups one append removes at the most: so many that the log shrinks, so few that nobody waits.
const TRUNCATED_GROUPS_MAX: usize = 8;

/// The open log. After a failed write the file is closed, and opened again by the next one.
pub(crate) struct Log {
    medium: Arc<dyn Medium>,
    database: Option<Database>,
    /// The last group that was acknowledged.
    last: u64,
}

/// What one durable write puts into the log.
pub(crate) struct Append<'a> {
    /// The changes; empty where only numbers are reserved.
    pub(crate) group: &'a [u8],
    /// The revision of the last change.
    pub(crate) revision: u64,
    /// Revisions up to here may be handed out from now on.
    pub(crate) reserved: u64,
    /// Groups up to this revision are in the state and may go.
    pub(crate) settled: u64,
}

impl Log {
    /// Opens the log.
    pub(crate) fn open(medium: Arc<dyn Medium>) -> Result<Self, OpenError> {
        let database = super::open(&*medium, File::Log)?;
        let log = Self { medium, last: 0, database: Some(database) };
        let last = log.last_group().map_err(|source| log.broken(source))?;
        Ok(Self { last, ..log })
    }

    /// The highest revision that may have been handed out.
    pub(crate) fn reserved(&self) -> Result<u64, OpenError> {
        self.read_reserved().map_err(|source| self.broken(source))
    }

    /// Hands out the records after a revision, oldest first.
    pub(crate) fn replay(&self, after: u64, each: impl FnMut(record::Record)) -> Result<(), OpenError> {
        self.try_replay(after, each).map_err(|source| self.broken(source))
    }

    /// Writes a group durably. After an error nothing of it is there.
    pub(crate) fn append(&mut self, append: &Append<'_>) -> Result<(), Fault> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopen()?,
        };
        // On an error the database is dropped: redb refuses all work after a failed write until it is opened again.
        commit(&database, append)?;
        self.database = Some(database);
        self.last = self.last.max(append.revision);
        Ok(())
    }

    /// Opens the file again and removes what a failed write may have left.
    fn reopen(&self) -> Result<Database, Fault> {
        let database = super::open(&*self.medium, File::Log)?;
        let write = database.begin_write()?;
        write.open_table(GROUPS)?.retain_in(self.last + 1.., |_, _| false)?;
        write.commit()?;
        Ok(database)
    }

    fn last_group(&self) -> Result<u64, Fault> {
        let Some(database) = &self.database else { return Ok(0) };
        let write = database.begin_write()?;
        let last = write.open_table(GROUPS)?.last()?.map_or(0, |(revision, _)| revision.value());
        write.commit()?;
        Ok(last)
    }

    fn read_reserved(&self) -> Result<u64, Fault> {
        let Some(database) = &self.database else { return Ok(0) };
        let read = database.begin_read()?;
        Ok(read.open_table(META)?.get(META_RESERVED)?.map_or(0, |reserved| reserved.value()))
    }

    fn try_replay(&self, after: u64, mut each: impl FnMut(record::Record)) -> Result<(), Fault> {
        let Some(database) = &self.database else { return Ok(()) };
        for row in database.begin_read()?.open_table(GROUPS)?.range(after + 1..)? {
            let (revision, group) = row?;
            let records =
                record::read(group.value()).ok_or_else(|| format!("group {} is damaged", revision.value()))?;
            records.into_iter().filter(|record| record.revision.0 > after).for_each(&mut each);
        }
        Ok(())
    }

    fn broken(&self, source: Fault) -> OpenError {
        OpenError::Io { path: self.medium.path(File::Log), source }
    }
}

fn commit(database: &Database, append: &Append<'_>) -> Result<(), Fault> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut groups = write.open_table(GROUPS)?;
        for _ in 0..TRUNCATED_GROUPS_MAX {
            let is_settled = groups.first()?.is_some_and(|(revision, _)| revision.value() <= append.settled);
            if !is_settled {
                break;
            }
            groups.pop_first()?;
        }
        if !append.group.is_empty() {
            groups.insert(append.revision, append.group)?;
        }
        let mut meta = write.open_table(META)?;
        if meta.get(META_RESERVED)?.map(|reserved| reserved.value()) != Some(append.reserved) {
            meta.insert(META_RESERVED, append.reserved)?;
        }
    }
    write.commit()?;
    Ok(())
}
