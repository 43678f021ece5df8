//! How a change stands in the log and an object's key in the state: lengths and bytes, little-endian.

use bytes::Bytes;
use wherry_api::{ObjectKey, RESOURCES, Resource, Revision};

use crate::memory::{Objects, shelf_of};
use crate::object::{Entry, Interner};

/// A change as the log has it.
#[derive(Clone)]
pub(crate) struct Record {
    /// The resource's shelf; none for a resource that this release does not know.
    pub(crate) shelf: Option<usize>,
    pub(crate) key: ObjectKey,
    pub(crate) revision: Revision,
    /// The object's JSON; none for a deletion.
    pub(crate) json: Option<Bytes>,
}

impl Record {
    /// Puts the change into the objects.
    pub(crate) fn settle(self, objects: &mut [Objects], interner: &mut Interner) {
        let Some(shelf) = self.shelf else { return };
        let (Some(objects), Some(resource)) = (objects.get_mut(shelf), RESOURCES.get(shelf)) else { return };
        match self.json {
            Some(json) => objects.insert(self.key, Entry::stored(resource, self.revision, json, interner)),
            None => objects.remove(&self.key),
        };
    }
}

/// Appends a change to a group's bytes.
pub(crate) fn write(out: &mut Vec<u8>, resource: &Resource, key: &ObjectKey, revision: Revision, kept: Option<&Entry>) {
    out.extend_from_slice(&revision.0.to_le_bytes());
    let name = state_key(resource, key);
    chunk(out, &name);
    out.push(u8::from(kept.is_some()));
    chunk(out, kept.map(|entry| &*entry.json).unwrap_or_default());
}

fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    // No object comes near 4 GiB: requests are bounded long before.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The records of a group; none where the bytes are not what [`write`] makes. They share no bytes with it: one object
/// that stays would hold its whole group in memory.
pub(crate) fn read(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        records.push(read_one(&mut bytes)?);
    }
    Some(records)
}

fn read_one(bytes: &mut &[u8]) -> Option<Record> {
    let revision = Revision(u64::from_le_bytes(*bytes.split_off(..8)?.first_chunk()?));
    let (shelf, key) = parse_state_key(read_chunk(bytes)?)?;
    let is_kept = *bytes.split_off_first()? == 1;
    let json = read_chunk(bytes)?;
    Some(Record { shelf, key, revision, json: is_kept.then(|| Bytes::copy_from_slice(json)) })
}

fn read_chunk<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
    bytes.split_off(..usize::try_from(length).ok()?)
}

/// `pods\0namespace\0name`: sorts as the objects do.
pub(crate) fn state_key(resource: &Resource, key: &ObjectKey) -> Vec<u8> {
    [resource.plural, ".", resource.group, "\0", &key.namespace, "\0", &key.name].concat().into_bytes()
}

/// The inverse of [`state_key`].
pub(crate) fn parse_state_key(bytes: &[u8]) -> Option<(Option<usize>, ObjectKey)> {
    let mut parts = std::str::from_utf8(bytes).ok()?.splitn(3, '\0');
    let (qualified, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let (plural, group) = qualified.split_once('.')?;
    let row = RESOURCES.iter().find(|row| row.plural == plural && row.group == group);
    Some((row.and_then(shelf_of), ObjectKey::new(namespace, name)))
}

/// An object as the state has it: its revision, then its JSON.
pub(crate) fn state_value(entry: &Entry) -> Vec<u8> {
    [entry.revision.0.to_le_bytes().as_slice(), &entry.json].concat()
}

/// The inverse of [`state_value`].
pub(crate) fn parse_state_value(bytes: &[u8]) -> Option<(Revision, &[u8])> {
    let (revision, json) = bytes.split_first_chunk()?;
    Some((Revision(u64::from_le_bytes(*revision)), json))
}
