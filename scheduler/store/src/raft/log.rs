//! The log as openraft sees it: entries are readable at once, and reported when they are durable.
//!
//! The newest entries stay in memory, so that followers are fed and changes applied without reading the disk. One
//! blocking task at a time writes whatever waits, with one fsync. After a failed write the log refuses everything:
//! it is opened again with what is certain.

mod storage;
pub(crate) mod tail;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::EntryPayload;
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::{Entry, LogId, Position, Types, Vote, decode, encode};
use crate::disk::log::{Fact, Log, Write};
use crate::disk::{Fault, record};
use crate::memory::Objects;
use crate::object::Interner;
use tail::{Kept, Tail};

/// How many bytes of entries are read at once, unless a single one is larger: what a message to a follower carries.
const READ_BYTES_MAX: usize = 2 << 20;

/// How many old entries go along with one write: so many that the log shrinks, so few that nobody waits.
const REMOVED_ENTRIES_MAX: usize = 8;

/// The log; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Log,
    state: Mutex<State>,
    /// Nobody waits for this thread meanwhile.
    may_wait: AtomicBool,
}

struct State {
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    tail: Tail,
    waiting: Vec<Write>,
    acks: Vec<Ack>,
    is_writing: bool,
    failed: Option<Arc<str>>,
}

/// Applies whatever a log has after a position to objects, committed or not, and tells the position then.
pub(crate) fn replay(
    log: &Log,
    objects: &mut [Objects],
    mut position: Position,
    interner: &mut Interner,
) -> Result<Position, Fault> {
    loop {
        let next = position.log_id.map_or(0, |log_id| log_id.index() + 1);
        let entries = log.entries(next..u64::MAX, READ_BYTES_MAX)?;
        if entries.is_empty() {
            return Ok(position);
        }
        for bytes in entries {
            let Entry { log_id, payload } = decode(&bytes)?;
            position.log_id = Some(log_id);
            if let EntryPayload::Normal(group) = payload
                && group.after == position.revision
            {
                let records = record::read(&group.records).ok_or("a group of the log is damaged")?;
                records.into_iter().for_each(|record| record.settle(objects, interner));
                (position.revision, position.reserved) = (group.revision, group.reserved);
            }
        }
    }
}

/// Whom to tell that a write is durable.
enum Ack {
    /// Entries up to this index.
    Raft(IOFlushed<Types>, Option<u64>),
    Caller(oneshot::Sender<Result<(), Arc<str>>>),
}

impl Ack {
    fn give(self, result: Result<(), &Arc<str>>) {
        match self {
            Self::Raft(flushed, _) => flushed.io_completed(result.map_err(|reason| io::Error::other(&**reason))),
            Self::Caller(answer) => _ = answer.send(result.map_err(Arc::clone)),
        }
    }

    const fn index(&self) -> Option<u64> {
        match self {
            Self::Raft(_, index) => *index,
            Self::Caller(_) => None,
        }
    }
}

impl LogStore {
    /// Reads where the log stands. Entries after `certain` (if given) are removed: nobody was told that they are
    /// durable, and those who asked for them were told that they are not.
    pub(crate) fn open(disk: Log, certain: Option<u64>, kept: Kept) -> Result<Self, Fault> {
        if let Some(certain) = certain {
            disk.write(&[Write::Truncate(certain + 1)])?;
        }
        let fact = |fact| disk.fact(fact);
        let purged: Option<LogId> = fact(Fact::Purged)?.map(|bytes| decode(&bytes)).transpose()?;
        let mut tail = Tail::after(purged, kept);
        let newest = disk.last()?.map_or(0..0, |last| (last + 1).saturating_sub(kept.entries as u64)..last + 1);
        for bytes in disk.entries(newest, usize::MAX)? {
            let entry: Entry = decode(&bytes)?;
            if Some(entry.log_id) > purged {
                tail.settle(Some(entry.log_id.index()));
                tail.push(entry, bytes.len());
            }
        }
        let state = State {
            vote: fact(Fact::Vote)?.map(|bytes| decode(&bytes)).transpose()?,
            committed: fact(Fact::Committed)?.map(|bytes| decode(&bytes)).transpose()?,
            tail,
            purged,
            waiting: Vec::new(),
            acks: Vec::new(),
            is_writing: false,
            failed: None,
        };
        Ok(Self { shared: Arc::new(Shared { disk, state: Mutex::new(state), may_wait: AtomicBool::new(false) }) })
    }

    /// The last entry that is certain to be on the disk.
    pub(crate) fn durable(&self) -> Option<u64> {
        self.lock().tail.durable()
    }

    /// Keeps so many of the newest entries in memory from now on.
    pub(crate) fn keep(&self, kept: Kept) {
        self.lock().tail.keep(kept);
    }

    /// Whether whoever writes may wait for the disk: that spares two changes of threads for each group, but keeps the
    /// other tasks of the runtime waiting too.
    pub(crate) fn wait_for_disk(&self, may_wait: bool) {
        self.shared.may_wait.store(may_wait, Ordering::Relaxed);
    }

    /// Up to which index the log may be cut, given what is in the state, durably; none where nothing is to be gained.
    pub(crate) fn cut(&self, settled: u64) -> Option<u64> {
        let state = self.lock();
        let upto = state.tail.beginning()?.min(settled);
        (upto > state.purged.map_or(0, |purged| purged.index())).then_some(upto)
    }

    /// Waits until everything is on the disk, and lets go of the file.
    pub(crate) async fn close(&self) {
        let _ = self.submit_and_wait(Vec::new()).await;
        self.shared.disk.close();
    }

    /// Removes all that may be cut, given what is in the state, durably, and lets go of the file: whoever opens it next has
    /// little to read.
    pub(crate) async fn finish(&self, settled: Option<LogId>) {
        if let Some(upto) = settled.and_then(|settled| self.cut(settled.index()))
            && let Ok(entries) = self.read(upto..upto + 1, usize::MAX).await
            && let Some(last) = entries.first()
        {
            self.purged(last.log_id);
            let _ = self.submit_and_wait(vec![Write::Purge { upto, entries_max: usize::MAX }]).await;
        }
        self.close().await;
    }

    /// Entries up to this one count as gone; their rows follow.
    fn purged(&self, upto: LogId) {
        let mut state = self.lock();
        state.purged = state.purged.max(Some(upto));
        state.tail.purge(upto);
    }

    /// Queues writes, in order, and sees that somebody writes them.
    fn submit(&self, writes: Vec<Write>, ack: Ack) {
        let mut state = self.lock();
        if let Some(reason) = state.failed.clone() {
            drop(state);
            return ack.give(Err(&reason));
        }
        state.waiting.extend(writes);
        state.acks.push(ack);
        let is_idle = !std::mem::replace(&mut state.is_writing, true);
        drop(state);
        if is_idle && self.shared.may_wait.load(Ordering::Relaxed) {
            self.shared.write_all();
        } else if is_idle {
            let shared = Arc::clone(&self.shared);
            wherry_base::spawn_blocking(move || shared.write_all());
        }
    }

    async fn submit_and_wait(&self, writes: Vec<Write>) -> io::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.submit(writes, Ack::Caller(answer));
        let written = answered.await.unwrap_or_else(|_| Err("the log is closed".into()));
        written.map_err(|reason| io::Error::other(&*reason))
    }

    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (on_disk, in_memory) = {
            let state = self.lock();
            // Rows of purged entries may be there yet.
            let first = state.purged.map_or(0, |purged| purged.index() + 1);
            state.tail.read(range.start.max(first)..range.end, bytes_max)
        };
        if on_disk.is_empty() {
            return Ok(in_memory);
        }
        let shared = Arc::clone(&self.shared);
        let read = wherry_base::spawn_blocking(move || -> Result<Vec<Entry>, Fault> {
            shared.disk.entries(on_disk, bytes_max)?.iter().map(|bytes| decode(bytes)).collect()
        });
        let mut entries = read.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        // A part is enough where a part was asked for.
        if bytes_max == usize::MAX {
            entries.extend(in_memory);
        }
        Ok(entries)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until nothing waits.
    fn write_all(&self) {
        while let Some((mut writes, acks)) = self.take() {
            self.add_facts(&mut writes);
            let written = if writes.is_empty() { Ok(()) } else { self.disk.write(&writes) };
            let failed: Option<Arc<str>> = written.err().map(|error| error.to_string().into());
            self.note(acks.iter().filter_map(Ack::index).next_back(), failed.clone());
            for ack in acks {
                ack.give(failed.as_ref().map_or(Ok(()), Err));
            }
        }
    }

    fn take(&self) -> Option<(Vec<Write>, Vec<Ack>)> {
        let mut state = self.lock();
        if state.acks.is_empty() {
            state.is_writing = false;
            return None;
        }
        Some((std::mem::take(&mut state.waiting), std::mem::take(&mut state.acks)))
    }

    /// What goes along with any write: it needs no fsync of its own.
    fn add_facts(&self, writes: &mut Vec<Write>) {
        let state = self.lock();
        if writes.is_empty() {
            return;
        }
        for (fact, log_id) in [(Fact::Committed, state.committed), (Fact::Purged, state.purged)] {
            writes.extend(log_id.and_then(|log_id| Some(Write::Set(fact, encode(&log_id).ok()?))));
        }
        let purge = |purged: LogId| Write::Purge { upto: purged.index(), entries_max: REMOVED_ENTRIES_MAX };
        writes.extend(state.purged.map(purge));
    }

    fn note(&self, durable: Option<u64>, failed: Option<Arc<str>>) {
        let mut state = self.lock();
        match failed {
            Some(reason) => {
                tracing::warn!(%reason, "the log could not be written");
                state.failed = Some(reason);
            }
            None => state.tail.settle(durable),
        }
    }
}
