//! The objects as they stood at some position of the log; the log has what came after.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use wherry_api::{ObjectKey, RESOURCES};

use super::{Fault, File, Medium, legacy, record, seal};
use crate::OpenError;
use crate::checkpoint::Batch;
use crate::memory::Objects;
use crate::object::Entry;
use crate::raft::{self, Position};

const VERSIONS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("versions");
const FACTS: TableDefinition<&str, &[u8]> = TableDefinition::new("facts");
const FACT_POSITION: &str = "position";

/// The open state. After a failed write the file is closed, and opened again by the next one.
pub(crate) struct State {
    medium: Arc<dyn Medium>,
    database: Mutex<Option<Database>>,
}

impl State {
    /// Opens the state.
    pub(crate) fn open(medium: Arc<dyn Medium>) -> Result<Self, OpenError> {
        let database = super::open(&*medium, File::State)?;
        Ok(Self { medium, database: Mutex::new(Some(database)) })
    }

    /// Whose state it is; none while it is new, or of an older format.
    pub(crate) fn member(&self) -> Result<Option<u64>, OpenError> {
        self.read(super::member)
    }

    /// All objects, shelf by shelf, and how far they have come.
    pub(crate) fn load(&self) -> Result<(Vec<Objects>, Position), OpenError> {
        self.read(load)
    }

    /// Reads the file as the caller knows how to.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, OpenError> {
        let found = match &*self.lock() {
            Some(database) => super::sound(|| read(database)),
            None => Err("the state is closed".into()),
        };
        found.map_err(|source| self.damaged(source))
    }

    pub(crate) fn damaged(&self, source: Fault) -> OpenError {
        OpenError::Io { path: self.medium.path(File::State), source }
    }

    /// Makes a batch of changes durable, all or nothing.
    pub(crate) fn write(&self, batch: &Batch) -> Result<(), Fault> {
        self.commit(|write| {
            let mut versions = write.open_table(VERSIONS)?;
            for ((place, key), entry) in &batch.objects {
                let Some(resource) = RESOURCES.get(*place) else { continue };
                let name = record::state_key(resource, key);
                match entry {
                    Some(entry) => versions.insert(&*name, &*seal::sealed(&record::state_value(entry)))?,
                    None => versions.remove(&*name)?,
                };
            }
            put_position(write, &batch.position)
        })
    }

    /// Replaces everything, durably, all or nothing; the file belongs to this member from then on.
    pub(crate) fn replace(&self, member: u64, objects: &[Objects], position: &Position) -> Result<(), Fault> {
        self.commit(|write| {
            write.delete_table(legacy::OBJECTS)?;
            write.delete_table(VERSIONS)?;
            let mut versions = write.open_table(VERSIONS)?;
            for (resource, (key, entry)) in all(objects) {
                let name = record::state_key(resource, key);
                versions.insert(&*name, &*seal::sealed(&record::state_value(entry)))?;
            }
            put_position(write, position)?;
            super::stamp(write, member)
        })
    }

    /// Lets go of the file.
    pub(crate) fn close(&self) {
        self.lock().take();
    }

    fn commit(&self, act: impl FnOnce(&WriteTransaction) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut place = self.lock();
        let database = match place.take() {
            Some(database) => database,
            None => super::open(&*self.medium, File::State)?,
        };
        let mut write = database.begin_write()?;
        // Spares the whole file's repair after a crash.
        write.set_quick_repair(true);
        super::sound(|| act(&write))?;
        super::sound(|| Ok(write.commit()?))?;
        *place = Some(database);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put_position(write: &WriteTransaction, position: &Position) -> Result<(), Fault> {
    let sealed = seal::sealed(&raft::encode(position)?);
    write.open_table(FACTS)?.insert(FACT_POSITION, &*sealed)?;
    Ok(())
}

fn load(database: &Database) -> Result<(Vec<Objects>, Position), Fault> {
    let objects = super::load::load(database, VERSIONS, seal::opened)?;
    let position = database.begin_read()?.open_table(FACTS)?.get(FACT_POSITION)?;
    let position = position.as_ref().and_then(|row| seal::opened(row.value())).ok_or("its position is damaged")?;
    Ok((objects, raft::decode(position)?))
}

/// All objects, with their resources.
pub(crate) fn all(
    objects: &[Objects],
) -> impl Iterator<Item = (&'static wherry_api::Resource, (&ObjectKey, &Arc<Entry>))> {
    RESOURCES.iter().zip(objects).flat_map(|(resource, shelf)| shelf.iter().map(move |object| (resource, object)))
}
