//! The log's operations, in openraft's terms.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::{Ack, LogStore, READ_BYTES_MAX};
use crate::disk::log::{Fact, Write};
use crate::raft::{Entry, LogId, Types, Vote, encode};

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start..end, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end, READ_BYTES_MAX).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.tail.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.lock().vote = Some(*vote);
        self.submit_and_wait(vec![Write::Set(Fact::Vote, encode(vote).map_err(io::Error::other)?)]).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut writes = Vec::new();
        let mut last = None;
        for entry in entries {
            let bytes = encode(&entry).map_err(io::Error::other)?;
            let index = entry.log_id.index();
            self.lock().tail.push(entry, bytes.len());
            writes.push(Write::Append(index, bytes));
            last = Some(index);
        }
        self.submit(writes, Ack::Raft(callback, last));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.lock().tail.truncate(last);
        self.submit_and_wait(vec![Write::Truncate(last.map_or(0, |last| last.index() + 1))]).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.purged(upto);
        Ok(())
    }
}
