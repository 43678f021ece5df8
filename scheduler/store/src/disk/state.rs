//! The objects as they stood at some revision; the log has what came after.

use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};
use wherry_api::RESOURCES;

use super::{Fault, File, META, Medium, record};
use crate::OpenError;
use crate::checkpoint::Batch;
use crate::memory::Objects;
use crate::object::{Entry, Interner};

const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const META_THROUGH: &str = "through";

/// The open state. After a failed write the file is closed, and opened again by the next one.
pub(crate) struct State {
    medium: Arc<dyn Medium>,
    database: Option<Database>,
}

impl State {
    /// Opens the state.
    pub(crate) fn open(medium: Arc<dyn Medium>) -> Result<Self, OpenError> {
        let database = super::open(&*medium, File::State)?;
        Ok(Self { medium, database: Some(database) })
    }

    /// All objects, shelf by shelf, and the revision up to which the log's changes are in them.
    pub(crate) fn load(&self, interner: &mut Interner) -> Result<(Vec<Objects>, u64), OpenError> {
        self.try_load(interner).map_err(|source| OpenError::Io { path: self.medium.path(File::State), source })
    }

    fn try_load(&self, interner: &mut Interner) -> Result<(Vec<Objects>, u64), Fault> {
        let mut shelves: Vec<Vec<_>> = RESOURCES.iter().map(|_| Vec::new()).collect();
        let Some(database) = &self.database else { return Ok((Vec::new(), 0)) };
        let write = database.begin_write()?;
        for row in write.open_table(OBJECTS)?.iter()? {
            let (name, value) = row?;
            let damaged = || format!("the object {} is damaged", String::from_utf8_lossy(name.value()));
            let (place, key) = record::parse_state_key(name.value()).ok_or_else(damaged)?;
            let found = place.and_then(|place| Some((RESOURCES.get(place)?, shelves.get_mut(place)?)));
            if let Some((resource, shelf)) = found {
                let (revision, json) = record::parse_state_value(value.value()).ok_or_else(damaged)?;
                shelf.push((key, Entry::stored(resource, revision, json, interner)));
            }
        }
        let through = write.open_table(META)?.get(META_THROUGH)?.map_or(0, |through| through.value());
        write.commit()?;
        Ok((shelves.into_iter().map(Objects::from_iter).collect(), through))
    }

    /// Makes a batch of changes durable, all or nothing.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let database = match self.database.take() {
            Some(database) => database,
            None => super::open(&*self.medium, File::State)?,
        };
        commit(&database, batch)?;
        self.database = Some(database);
        Ok(())
    }
}

fn commit(database: &Database, batch: &Batch) -> Result<(), Fault> {
    let mut write = database.begin_write()?;
    // Spares the whole file's repair after a crash.
    write.set_quick_repair(true);
    {
        let mut objects = write.open_table(OBJECTS)?;
        for ((place, key), entry) in &batch.objects {
            let Some(resource) = RESOURCES.get(*place) else { continue };
            let name = record::state_key(resource, key);
            match entry {
                Some(entry) => objects.insert(&*name, &*record::state_value(entry))?,
                None => objects.remove(&*name)?,
            };
        }
        write.open_table(META)?.insert(META_THROUGH, batch.through)?;
    }
    write.commit()?;
    Ok(())
}
