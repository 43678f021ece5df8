//! The log's file: entries by index, durable before anyone is answered, and the few facts that go with them.
//!
//! Entries and facts are opaque bytes here. All writes that wait go to the disk in one transaction. Each row carries a
//! checksum, so that damage is found when the log is opened.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Fault, File, Medium, seal};
use crate::OpenError;

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const FACTS: TableDefinition<&str, &[u8]> = TableDefinition::new("facts");

/// A fact that the log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Whom this member gave its vote.
    Vote,
    /// The last entry that was removed for good.
    Purged,
    /// The last entry that was known to be committed.
    Committed,
}

impl Fact {
    const fn name(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Purged => "purged",
            Self::Committed => "committed",
        }
    }
}

/// One change of the log.
#[derive(Debug)]
pub(crate) enum Write {
    Append(u64, Vec<u8>),
    /// Removes the entries from this index on.
    Truncate(u64),
    Set(Fact, Vec<u8>),
    /// Removes some of the entries up to this index, the oldest first.
    Purge {
        upto: u64,
        entries_max: usize,
    },
}

/// The open log. After a failed write it is closed for good; whoever goes on opens it again.
pub(crate) struct Log {
    medium: Arc<dyn Medium>,
    database: RwLock<Option<Arc<Database>>>,
}

impl Log {
    /// Opens the log, and reads all of it once.
    pub(crate) fn open(medium: Arc<dyn Medium>) -> Result<Self, OpenError> {
        let database = super::open(&*medium, File::Log)?;
        let log = Self { medium, database: RwLock::new(Some(Arc::new(database))) };
        super::sound(|| log.make_tables().and_then(|()| log.verify())).map_err(|source| log.damaged(source))?;
        Ok(log)
    }

    /// Whose log it is; none while it is new.
    pub(crate) fn member(&self) -> Result<Option<u64>, OpenError> {
        self.database().and_then(|database| super::member(&database)).map_err(|source| self.damaged(source))
    }

    /// Begins anew after what is in the state: no entries, these facts.
    pub(crate) fn rebase(&self, member: u64, facts: &[(Fact, Vec<u8>)]) -> Result<(), OpenError> {
        let begin = || -> Result<(), Fault> {
            let write = self.database()?.begin_write()?;
            write.open_table(ENTRIES)?.retain(|_, _| false)?;
            let mut table = write.open_table(FACTS)?;
            table.retain(|_, _| false)?;
            for (fact, value) in facts {
                table.insert(fact.name(), &*seal::sealed(value))?;
            }
            drop(table);
            super::stamp(&write, member)?;
            Ok(write.commit()?)
        };
        begin().map_err(|source| self.damaged(source))
    }

    pub(crate) fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, Fault> {
        let read = self.database()?.begin_read()?;
        let Some(row) = read.open_table(FACTS)?.get(fact.name())? else { return Ok(None) };
        Ok(Some(seal::opened(row.value()).ok_or_else(|| format!("the {} is damaged", fact.name()))?.to_vec()))
    }

    /// Entries from the first of a range on, as many as fit into `bytes_max`, at least one if there is one.
    pub(crate) fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        for row in self.database()?.begin_read()?.open_table(ENTRIES)?.range(range)? {
            let (index, row) = row?;
            let entry = opened(index.value(), row.value())?;
            bytes += entry.len();
            entries.push(entry.to_vec());
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    /// The index of the last entry.
    pub(crate) fn last(&self) -> Result<Option<u64>, Fault> {
        Ok(self.database()?.begin_read()?.open_table(ENTRIES)?.last()?.map(|(index, _)| index.value()))
    }

    /// Makes changes durable, in order, all or nothing.
    pub(crate) fn write(&self, changes: &[Write]) -> Result<(), Fault> {
        let database = self.database()?;
        let written = super::sound(|| commit(&database, changes));
        if written.is_err() {
            // redb refuses all work after a failed write until the file is opened again.
            self.close();
        }
        written
    }

    /// Lets go of the file; whatever is asked later fails.
    pub(crate) fn close(&self) {
        self.database.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) fn database(&self) -> Result<Arc<Database>, Fault> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        database.ok_or_else(|| "the log is closed".into())
    }

    fn make_tables(&self) -> Result<(), Fault> {
        let read = self.database()?.begin_read()?;
        if read.open_table(ENTRIES).is_ok() && read.open_table(FACTS).is_ok() {
            return Ok(());
        }
        let write = self.database()?.begin_write()?;
        write.open_table(ENTRIES)?;
        write.open_table(FACTS)?;
        Ok(write.commit()?)
    }

    fn verify(&self) -> Result<(), Fault> {
        for row in self.database()?.begin_read()?.open_table(ENTRIES)?.iter()? {
            let (index, row) = row?;
            opened(index.value(), row.value())?;
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, source: Fault) -> OpenError {
        OpenError::Io { path: self.medium.path(File::Log), source }
    }
}

fn opened(index: u64, row: &[u8]) -> Result<&[u8], Fault> {
    Ok(seal::opened(row).ok_or_else(|| format!("entry {index} is damaged"))?)
}

fn commit(database: &Database, changes: &[Write]) -> Result<(), Fault> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut entries = write.open_table(ENTRIES)?;
        let mut facts = write.open_table(FACTS)?;
        for change in changes {
            match change {
                Write::Append(index, entry) => drop(entries.insert(index, &*seal::sealed(entry))?),
                Write::Truncate(from) => entries.retain_in::<u64, _>(from.., |_, _| false)?,
                Write::Set(fact, value) => drop(facts.insert(fact.name(), &*seal::sealed(value))?),
                Write::Purge { upto, entries_max } => purge(&mut entries, *upto, *entries_max)?,
            }
        }
    }
    write.commit()?;
    Ok(())
}

fn purge(entries: &mut redb::Table<'_, u64, &[u8]>, upto: u64, entries_max: usize) -> Result<(), Fault> {
    for _ in 0..entries_max {
        if entries.first()?.is_none_or(|(index, _)| index.value() > upto) {
            break;
        }
        entries.pop_first()?;
    }
    Ok(())
}
