//! Reads a whole state: one thread turns pages, all cores make objects of rows.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use wherry_api::{ObjectKey, RESOURCES};

use super::{Fault, record};
use crate::memory::Objects;
use crate::object::{Entry, Interner};

/// How many rows are handed over at once.
const CHUNK_ROWS: usize = 4096;

/// How many chunks may wait for a core.
const CHUNKS_WAITING_MAX: usize = 4;

/// A row's name and value.
type Row = (Vec<u8>, Vec<u8>);

/// A part of the state, and its place in it.
type Part = (usize, Vec<(usize, ObjectKey, Arc<Entry>)>);

/// Takes rows in the order of their names.
pub(super) struct Rows {
    chunk: Vec<Row>,
    chunks: SyncSender<(usize, Vec<Row>)>,
    sent: usize,
}

impl Rows {
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.chunk.push((name.to_vec(), value.to_vec()));
        if self.chunk.len() >= CHUNK_ROWS {
            self.send();
        }
    }

    fn send(&mut self) {
        // It fails only where the other end has panicked, which is told when that is joined.
        let _ = self.chunks.send((self.sent, std::mem::take(&mut self.chunk)));
        self.sent += 1;
    }
}

/// Takes the checksum off a row's value, where it has one; none where it is wrong.
type Open = fn(&[u8]) -> Option<&[u8]>;

/// All objects, shelf by shelf, of the rows that `read` hands over; those of resources that this release does not know
/// are passed over.
pub(super) fn load(open: Open, read: impl FnOnce(&mut Rows) -> Result<(), Fault>) -> Result<Vec<Objects>, Fault> {
    let (chunks, waiting) = sync_channel(CHUNKS_WAITING_MAX);
    let waiting = Mutex::new(waiting);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut parts = thread::scope(|scope| -> Result<Vec<Part>, Fault> {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| work(&waiting, open))).collect();
        let mut rows = Rows { chunk: Vec::new(), chunks, sent: 0 };
        read(&mut rows)?;
        rows.send();
        drop(rows);
        let mut parts = Vec::new();
        for worker in workers {
            parts.extend(worker.join().map_err(|_| "a thread panicked")??);
        }
        Ok(parts)
    })?;
    parts.sort_unstable_by_key(|(place, _)| *place);
    let mut shelves: Vec<Vec<_>> = RESOURCES.iter().map(|_| Vec::new()).collect();
    for (place, key, entry) in parts.into_iter().flat_map(|(_, objects)| objects) {
        if let Some(shelf) = shelves.get_mut(place) {
            shelf.push((key, entry));
        }
    }
    Ok(shelves.into_iter().map(Objects::from_iter).collect())
}

/// Goes on taking chunks when one was damaged, so that whoever sends them is not kept waiting.
fn work(waiting: &Mutex<Receiver<(usize, Vec<Row>)>>, open: Open) -> Result<Vec<Part>, Fault> {
    let mut interner = Interner::default();
    let mut parts = Ok(Vec::new());
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((place, rows)) = next else { return parts };
        let objects = rows.into_iter().filter_map(|row| object(row, open, &mut interner).transpose());
        match (objects.collect::<Result<Vec<_>, Fault>>(), &mut parts) {
            (Ok(objects), Ok(parts)) => parts.push((place, objects)),
            (Err(fault), Ok(_)) => parts = Err(fault),
            (_, Err(_)) => {}
        }
    }
}

fn object(
    (name, value): Row,
    open: Open,
    interner: &mut Interner,
) -> Result<Option<(usize, ObjectKey, Arc<Entry>)>, Fault> {
    let damaged = || format!("the object {} is damaged", String::from_utf8_lossy(&name).replace('\0', "/"));
    let (revision, json) = open(&value).and_then(record::parse_state_value).ok_or_else(damaged)?;
    let json_at = value.len() - json.len();
    let (place, key) = record::parse_state_key(&name).ok_or_else(damaged)?;
    let Some((place, resource)) = place.and_then(|place| Some((place, RESOURCES.get(place)?))) else {
        return Ok(None);
    };
    // The object stays where it was read to: copying a gigabyte once more would be felt.
    let json = Bytes::from(value).slice(json_at..);
    Ok(Some((place, key, Entry::stored(resource, revision, json, interner))))
}
