//! Reads a whole state: two threads walk towards each other through its rows and make objects of them.
//!
//! Most of what that costs is copying out of the file into fresh memory, page by page, which no third thread can take from them:
//! the file has two ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use wherry_api::{ObjectKey, RESOURCES};

use super::{Fault, record};
use crate::memory::Objects;
use crate::object::{Entry, Interner};

/// Takes the checksum off a row's value, where it has one; none where it is wrong.
type Open = fn(&[u8]) -> Option<&[u8]>;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The objects of one resource, in the order in which they were read.
type Shelf = Vec<(ObjectKey, Arc<Entry>)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// The name that each walker has come to; the rows between are nobody's yet.
#[derive(Default)]
struct Gap {
    first: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Gap {
    /// Takes the next row for the walker from one end; false where the other has it.
    fn narrow(&mut self, from: End, name: &[u8]) -> bool {
        let is_free = match from {
            End::First => self.last.as_deref().is_none_or(|last| name < last),
            End::Last => self.first.as_deref().is_none_or(|first| first < name),
        };
        if is_free {
            let own = if from == End::First { &mut self.first } else { &mut self.last };
            let own = own.get_or_insert_default();
            own.clear();
            own.extend_from_slice(name);
        }
        is_free
    }
}

/// All objects of a table, shelf by shelf; those of resources that this release does not know are passed over.
pub(super) fn load(database: &Database, table: Table, open: Open) -> Result<Vec<Objects>, Fault> {
    let read = database.begin_read()?;
    let gap = Mutex::default();
    let walk = |from| walk(&read, table, open, from, &gap);
    let (first, last) = thread::scope(|scope| {
        let last = scope.spawn(|| walk(End::Last));
        (walk(End::First), last.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    });
    let shelves = first?.into_iter().zip(last?);
    Ok(shelves.map(|(first, last)| first.into_iter().chain(last.into_iter().rev()).collect()).collect())
}

fn walk(read: &ReadTransaction, table: Table, open: Open, from: End, gap: &Mutex<Gap>) -> Result<Vec<Shelf>, Fault> {
    let table = read.open_table(table)?;
    let mut rows = table.iter()?;
    let mut shelves: Vec<Shelf> = RESOURCES.iter().map(|_| Vec::new()).collect();
    let mut interner = Interner::default();
    while let Some(row) = if from == End::First { rows.next() } else { rows.next_back() } {
        let (name, value) = row?;
        if !gap.lock().unwrap_or_else(PoisonError::into_inner).narrow(from, name.value()) {
            break;
        }
        if let Some((place, key, entry)) = object(name.value(), value.value(), open, &mut interner)?
            && let Some(shelf) = shelves.get_mut(place)
        {
            shelf.push((key, entry));
        }
    }
    Ok(shelves)
}

fn object(
    name: &[u8],
    value: &[u8],
    open: Open,
    interner: &mut Interner,
) -> Result<Option<(usize, ObjectKey, Arc<Entry>)>, Fault> {
    let damaged = || format!("the object {} is damaged", String::from_utf8_lossy(name).replace('\0', "/"));
    let (revision, json) = open(value).and_then(record::parse_state_value).ok_or_else(damaged)?;
    let (place, key) = record::parse_state_key(name).ok_or_else(damaged)?;
    let Some((place, resource)) = place.and_then(|place| Some((place, RESOURCES.get(place)?))) else {
        return Ok(None);
    };
    Ok(Some((place, key, Entry::stored(resource, revision, Bytes::copy_from_slice(json), interner))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In each order of 8 turns, after which all go to the first.
    #[test]
    fn every_row_is_taken_once_whoever_comes_first() {
        let rows: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
        for turns in 0..1_u32 << 8 {
            let (mut gap, mut taken) = (Gap::default(), Vec::<&[u8]>::new());
            let (mut from_first, mut from_last) = (rows.iter(), rows.iter().rev());
            for turn in 0..8 + rows.len() {
                let end = if turns >> turn & 1 == 0 { End::First } else { End::Last };
                let next = if end == End::First { from_first.next() } else { from_last.next() };
                taken.extend(next.copied().filter(|row| gap.narrow(end, row)));
            }
            taken.sort_unstable();
            assert_eq!(taken, rows, "{turns:b}");
        }
    }
}
