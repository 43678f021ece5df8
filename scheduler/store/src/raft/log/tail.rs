//! The newest entries of the log in memory: all that are not durable yet, and as many others as the bounds allow.

use std::collections::VecDeque;
use std::ops::Range;

use crate::raft::{Entry, LogId};

/// At least as many of the newest entries are kept, however large they are: whoever is an entry behind needs no snapshot.
const LEAST: usize = 2;

/// How many of the newest entries are kept in memory, and how many bytes of them; whichever bound is met first. The
/// log on the disk is cut where these begin: a follower that lacks more gets a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Kept {
    /// For a member that is alone: there is nobody to feed.
    pub(crate) const LITTLE: Self = Self { entries: 16, bytes: 1 << 20 };
}

/// Entries without gaps up to the last one.
pub(super) struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    kept: Kept,
    last: Option<LogId>,
    /// The last entry that is on the disk.
    durable: Option<u64>,
}

impl Tail {
    /// Nothing in memory yet of a log that ends with `last`.
    pub(super) fn after(last: Option<LogId>, kept: Kept) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, kept, last, durable: last.map(|last| last.index()) }
    }

    pub(super) const fn last(&self) -> Option<LogId> {
        self.last
    }

    pub(super) const fn durable(&self) -> Option<u64> {
        self.durable
    }

    /// The index before the first entry in memory; none where there is nothing in memory.
    pub(super) fn beginning(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index().saturating_sub(1))
    }

    pub(super) fn push(&mut self, entry: Entry, bytes: usize) {
        self.last = Some(entry.log_id);
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
    }

    /// Keeps so much from now on.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.kept = kept;
        self.settle(self.durable);
    }

    /// Entries up to this index are on the disk: the oldest may go where they are too many.
    pub(super) fn settle(&mut self, durable: Option<u64>) {
        self.durable = self.durable.max(durable);
        while self.entries.len() > LEAST && (self.entries.len() > self.kept.entries || self.bytes > self.kept.bytes) {
            let is_durable = self.entries.front().is_some_and(|(entry, _)| Some(entry.log_id.index()) <= self.durable);
            if !is_durable {
                break;
            }
            self.pop_front();
        }
    }

    /// Removes the entries after `last`.
    pub(super) fn truncate(&mut self, last: Option<LogId>) {
        let index = last.map(|last| last.index());
        while self.entries.back().is_some_and(|(entry, _)| Some(entry.log_id.index()) > index) {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
        self.last = self.last.min(last);
        self.durable = self.durable.min(index);
    }

    /// Removes the entries up to `upto`, which may be beyond the last.
    pub(super) fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|(entry, _)| entry.log_id.index() <= upto.index()) {
            self.pop_front();
        }
        if self.last < Some(upto) {
            self.last = Some(upto);
            self.durable = Some(upto.index());
        }
    }

    /// The entries of a range that are in memory, and the part of the range that is on the disk only.
    pub(super) fn read(&self, range: Range<u64>, bytes_max: usize) -> (Range<u64>, Vec<Entry>) {
        let end = range.end.min(self.last.map_or(0, |last| last.index() + 1));
        let first = self.entries.front().map_or(end, |(entry, _)| entry.log_id.index());
        let skipped = usize::try_from(range.start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fitting = self.entries.iter().skip(skipped).take_while(|(entry, size)| {
            let fits = bytes < bytes_max && entry.log_id.index() < end;
            bytes += size;
            fits
        });
        (range.start..first.min(end), fitting.map(|(entry, _)| entry.clone()).collect())
    }

    fn pop_front(&mut self) {
        self.bytes -= self.entries.pop_front().map_or(0, |(_, bytes)| bytes);
    }
}
