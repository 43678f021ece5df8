//! The masters' memory: a log of changes on redb, applied in order to a versioned map of objects.
//!
//! Owns the revision counter, the watch history, durability and recovery. The only crate that opens redb.
//! Objects are bytes here: encoded JSON with a small index beside it. Knows nothing of HTTP, admission or identity.
//!
//! The log is replicated among the masters (`raft`): one is a group of one. On the leader, the `planner` decides all
//! commands that wait as one group; the group is durable on a majority with one fsync each, is applied by every
//! `machine` in the same order, and wakes those who wait. A `checkpoint` carries what changed to `state.redb`, so that the log
//! can be cut. All of it sleeps while nothing changes, but for the ticks of elections. Reads take a snapshot of this
//! member's memory and never wait; what is shown may be older than what another member shows, unless the reader waits for
//! `linearizable` first. A crash loses nothing that was acknowledged, except changes of volatile resources, which are in
//! the leader's memory only; revisions are never used twice, but skip ahead.

mod archive;
mod barrier;
mod change;
mod checkpoint;
mod command;
mod disk;
pub mod medium;
mod member;
mod memory;
mod node;
mod object;
mod open;
mod plan;
mod planner;
mod raft;
mod read;
mod restore;
#[cfg(test)]
mod tests;
mod wake;

pub use archive::{Archive, Assembly, RestoreError};
pub use command::{Applied, Command, Conflict, Expect, ProposeError};
pub use member::{
    Leadership, MESSAGE_BYTES_MAX, Member, MemberError, NotLeader, Role, Seat, Start, Transport, TransportError,
    Unavailable,
};
pub use object::{Encoded, Entry, Index, Labels};
pub use read::{Change, ChangeKind, Expired, Snapshot, Watch};
pub use wake::{Focus, Place};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use wherry_api::{Resource, Revision};

use crate::memory::shelf_of;
use crate::plan::Proposal;

/// An open store, cheap to clone; closes when the last clone goes.
#[derive(Clone)]
pub struct Store {
    inner: Arc<open::Running>,
}

/// Limits of a store.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many changes of durable resources the watch history holds, and four times as many as of volatile ones; older
    /// revisions answer `Expired`.
    pub watch_history_changes_max: usize,
    /// How many bytes of JSON, in the same way; whichever bound is met first counts.
    pub watch_history_bytes_max: usize,
    /// How many commands may wait for the disk; more are refused with `Overloaded`.
    pub commands_waiting_max: usize,
    /// How many changed objects are carried from the log to the state at once; fewer after two seconds.
    pub checkpoint_objects: usize,
    /// How many groups of changes the log keeps that are in the state already, for members that lag behind: one that
    /// lacks more is sent the whole state.
    pub log_groups_kept: usize,
    /// How many bytes of such groups; whichever bound is met first counts.
    pub log_bytes_kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            watch_history_changes_max: 65_536,
            watch_history_bytes_max: 64 << 20,
            commands_waiting_max: 8_192,
            checkpoint_objects: 4_096,
            log_groups_kept: 1_024,
            log_bytes_kept: 16 << 20,
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another process uses the data in {0}; stop it first, or choose another --data-dir")]
    InUse(std::path::PathBuf),
    /// Written by a newer release.
    #[error("the data in {path} has format {found}, this release reads up to {known}; use the newer release")]
    Newer {
        /// The file.
        path: std::path::PathBuf,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// The file system or redb refused.
    #[error("cannot open the data in {path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Store {
    /// Opens the store in `directory` (made where it is missing), replaying the log onto the last durable state.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, OpenError> {
        let directory = disk::Directory::create(directory)?;
        Ok(Self { inner: Arc::new(open::open(Arc::new(directory), limits, None)?) })
    }

    /// Opens the store of one master among several, or of one that others may join. A cluster of one is ready when
    /// this returns (unless it runs on a runtime of the caller's); a member of several catches up meanwhile.
    pub fn open_member(directory: &Path, limits: Limits, seat: Seat) -> Result<Self, OpenError> {
        let directory = disk::Directory::create(directory)?;
        Ok(Self { inner: Arc::new(open::open(Arc::new(directory), limits, Some(seat))?) })
    }

    /// The same on another medium than the file system.
    pub fn open_on(medium: Arc<dyn medium::Medium>, limits: Limits, seat: Seat) -> Result<Self, OpenError> {
        Ok(Self { inner: Arc::new(open::open(medium, limits, Some(seat))?) })
    }

    /// Makes the member whose data is in `directory` a cluster of one, with everything that it has: what to do when a
    /// majority is lost for good. It gets a new id, which is returned; its former peers must not be started again with
    /// their data. Nobody may have the store open.
    pub fn restore_alone(directory: &Path) -> Result<u64, OpenError> {
        open::restore_alone(Arc::new(disk::Directory::create(directory)?))
    }

    /// A store in memory, for tests.
    pub fn in_memory(limits: Limits) -> Self {
        #[expect(clippy::expect_used, reason = "an empty database in memory always opens")]
        let inner = open::open(Arc::new(disk::Volatile), limits, None).expect("memory opens");
        Self { inner: Arc::new(inner) }
    }

    /// Carries out a command; resolves once it is durable (unless the resource is volatile) and applied.
    /// It is carried out also where the caller no longer waits for it.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let (Command::Put { resource, .. } | Command::Delete { resource, .. }) = command;
        let shelf = shelf_of(resource).ok_or(ProposeError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.inner.submit(Proposal::new(shelf, command, answer))?;
        answered.await.unwrap_or(Err(ProposeError::Closed))
    }

    /// All objects of a resource, and the revision at which they stood so.
    pub fn snapshot(&self, resource: &'static Resource) -> Snapshot {
        self.inner.node.machine.memory().snapshot(shelf_of(resource))
    }

    /// All objects of a resource as they stood at a revision, as far back as the watch history reaches.
    pub fn snapshot_at(&self, resource: &'static Resource, at: Revision) -> Result<Snapshot, Expired> {
        self.inner.node.machine.memory().snapshot_at(shelf_of(resource), at)
    }

    /// The changes of a resource after `from`; a revision that is yet to come is waited for.
    pub fn watch(&self, resource: &'static Resource, from: Revision) -> Result<Watch, Expired> {
        self.watch_focused(resource, from, None)
    }

    /// The same of the changes that concern a focus alone: others wake it as good as never.
    pub fn watch_focused(
        &self,
        resource: &'static Resource,
        from: Revision,
        focus: Option<Focus>,
    ) -> Result<Watch, Expired> {
        let shelf = shelf_of(resource).unwrap_or(usize::MAX);
        Watch::new(Arc::clone(self.inner.node.machine.memory()), shelf, from, focus)
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.inner.node.machine.memory().revision()
    }
    /// All durable objects as they stand here now, to be kept somewhere else: writes go on meanwhile.
    pub fn save(&self) -> Archive {
        Archive::of(self.inner.node.machine.freeze().1)
    }

    /// Makes what was saved the present state, by ordinary writes: what is not in it is removed, what differs is written
    /// anew, and watches see both. Revisions go on. Leader only; what was interrupted is to be done again. Tells how many
    /// objects were written or removed.
    pub async fn restore(&self, saved: Assembly) -> Result<usize, RestoreError> {
        restore::restore(self, saved.finish()?).await
    }

    /// This master.
    pub fn me(&self) -> Member {
        self.inner.node.me.clone()
    }

    /// Who leads: the present state, and how to wait for another.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.node.leadership.subscribe()
    }

    /// Whether a resource may be read here. Volatile ones are in the leader's memory only: elsewhere their lists are
    /// empty and their watches silent, so that whoever reads them must be sent to the leader first.
    pub fn readable(&self, resource: &'static Resource) -> Result<(), NotLeader> {
        let node = &self.inner.node;
        if !resource.volatile || node.machine.office().is_some() || node.is_alone() {
            return Ok(());
        }
        let leader = match &*node.leadership.borrow() {
            Leadership::Follower { leader } => leader.clone(),
            _ => None,
        };
        Err(NotLeader { leader })
    }

    /// Resolves once reads here show everything that was acknowledged by any master before this was called, and
    /// tells the revision at which that is so.
    pub async fn linearizable(&self) -> Result<Revision, Unavailable> {
        barrier::linearizable(&self.inner.node).await
    }

    /// Answers a message of another member's [`Transport`]. One that is no message of a member's, or is meant for
    /// another one, is answered with an empty answer.
    pub async fn receive(&self, message: Bytes) -> Bytes {
        raft::inbox::receive(&self.inner.node, &message).await
    }

    /// All members, by id: the present ones, and how to wait for others.
    pub fn members(&self) -> watch::Receiver<Vec<(Member, Role)>> {
        self.inner.node.machine.members()
    }

    /// Whether this member is the whole cluster, so that what is shown here is all that was ever acknowledged.
    pub fn is_alone(&self) -> bool {
        self.inner.node.is_alone()
    }

    /// How many entries of the log each other member lacks, as far as this one knows: only the leader does.
    pub fn lags(&self) -> BTreeMap<u64, u64> {
        change::lags(&self.inner.node)
    }

    /// Adds a member whose store runs already and waits at its address (see [`Start::Join`]): it is brought up to date
    /// and then votes. Leader only.
    pub async fn add_member(&self, member: Member) -> Result<(), MemberError> {
        change::add(&self.inner.node, member).await
    }

    /// Removes a member for good, alive or not. Leader only; a leader that removes itself hands over.
    pub async fn remove_member(&self, id: u64) -> Result<(), MemberError> {
        change::remove(&self.inner.node, id).await
    }

    /// Adds a member and removes another in one step, so that there is never one voter too many or too few. Leader only.
    pub async fn replace_member(&self, id: u64, with: Member) -> Result<(), MemberError> {
        change::replace(&self.inner.node, id, with).await
    }

    /// Lets another voter lead, one that is up to date; resolves when it does, or when this member did not lead.
    /// A member that is alone goes on leading.
    pub async fn hand_over_leadership(&self) -> Result<(), Unavailable> {
        change::hand_over(&self.inner.node).await
    }

    /// Writes what waits and ends; what is asked later is answered with `Closed`. Dropping the last handle does the
    /// same, but on a runtime of the caller's it cannot wait for it.
    pub async fn close(&self) {
        self.inner.close().await;
    }
}
