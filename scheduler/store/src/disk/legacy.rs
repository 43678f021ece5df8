//! What releases before the replicated log wrote (format 1): groups of changes by revision, objects without checksums.
//!
//! Read once, to be written anew in the present format; nothing here writes, but to drop what was taken over.

use redb::{Database, ReadableDatabase, TableDefinition, TableError, TableHandle};

use super::{Fault, record};
use crate::memory::Objects;
use crate::object::Interner;

/// Groups by the revision of their last change.
const GROUPS: TableDefinition<u64, &[u8]> = TableDefinition::new("groups");
pub(super) const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const META_RESERVED: &str = "reserved";
const META_THROUGH: &str = "through";
const FORMAT: u32 = 1;

/// All that was in both files.
pub(crate) struct Legacy {
    pub(crate) objects: Vec<Objects>,
    /// The revision of the last change, or of what may have been handed out.
    pub(crate) revision: u64,
}

/// What the files hold, if they are of the old format.
pub(crate) fn read(log: &Database, state: &Database, interner: &mut Interner) -> Result<Option<Legacy>, Fault> {
    if super::format(state)? != Some(FORMAT) {
        return Ok(None);
    }
    if super::format(log)?.is_none() {
        return Err("the log beside it is missing or empty".into());
    }
    let through = super::meta(state, META_THROUGH)?.unwrap_or(0);
    let mut objects = super::load::load(state, OBJECTS, |value| Some(value))?;
    let mut revision = through.max(super::meta(log, META_RESERVED)?.unwrap_or(0));
    for record in groups_after(log, through)? {
        revision = revision.max(record.revision.0);
        record.settle(&mut objects, interner);
    }
    Ok(Some(Legacy { objects, revision }))
}

fn groups_after(log: &Database, through: u64) -> Result<Vec<record::Record>, Fault> {
    let read = log.begin_read()?;
    let groups = match read.open_table(GROUPS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        groups => groups?,
    };
    let mut records = Vec::new();
    for row in groups.range(through + 1..)? {
        let (revision, group) = row?;
        let group = record::read(group.value());
        records.extend(group.ok_or_else(|| format!("group {} is damaged", revision.value()))?);
    }
    records.retain(|record| record.revision.0 > through);
    Ok(records)
}

/// Drops the old groups, once the state has them.
pub(crate) fn forget(log: &Database) -> Result<(), Fault> {
    if log.begin_read()?.list_tables()?.any(|table| table.name() == GROUPS.name()) {
        let write = log.begin_write()?;
        write.delete_table(GROUPS)?;
        write.commit()?;
    }
    Ok(())
}
