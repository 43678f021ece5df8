//! The master's memory: a log of commands on redb, applied in order to a versioned map of objects.
//!
//! Owns the revision counter, the watch history, durability and recovery. The only crate that opens redb.
//! Objects are bytes here: encoded JSON with a small index beside it. Knows nothing of HTTP, admission or identity.
//!
//! One thread writes `log.redb` (one fsync for all commands that wait), applies what is durable, and wakes those who
//! wait; a second carries what changed to `state.redb`, so that the log can be cut. Both sleep while nothing changes.
//! Reads take a snapshot and never wait for them. A crash loses nothing that was acknowledged, except changes of
//! volatile resources; revisions are never used twice, but skip ahead.

mod checkpoint;
mod command;
mod disk;
mod member;
mod memory;
mod object;
mod open;
mod plan;
mod read;
#[cfg(test)]
mod tests;
mod writer;

pub use command::{Applied, Command, Conflict, Expect, ProposeError};
pub use member::{
    Leadership, MESSAGE_BYTES_MAX, Member, MemberError, NotLeader, Role, Seat, Start, Transport, TransportError,
    Unavailable,
};
pub use object::{Encoded, Entry, Index, Labels};
pub use read::{Change, ChangeKind, Expired, Snapshot, Watch};

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
    /// How many changes the watch history holds, over all resources; older revisions answer `Expired`.
    pub watch_history_changes_max: usize,
    /// How many bytes of JSON the watch history holds, over all resources; whichever bound is met first counts.
    pub watch_history_bytes_max: usize,
    /// How many commands may wait for the disk; more are refused with `Overloaded`.
    pub commands_waiting_max: usize,
    /// How many changed objects are carried from the log to the state at once; fewer after two seconds.
    pub checkpoint_objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            watch_history_changes_max: 65_536,
            watch_history_bytes_max: 64 << 20,
            commands_waiting_max: 8_192,
            checkpoint_objects: 4_096,
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
        self.inner.memory.snapshot(shelf_of(resource))
    }

    /// All objects of a resource as they stood at a revision, as far back as the watch history reaches.
    pub fn snapshot_at(&self, resource: &'static Resource, at: Revision) -> Result<Snapshot, Expired> {
        self.inner.memory.snapshot_at(shelf_of(resource), at)
    }

    /// The changes of a resource after `from`; a revision that is yet to come is waited for.
    pub fn watch(&self, resource: &'static Resource, from: Revision) -> Result<Watch, Expired> {
        let shelf = shelf_of(resource).unwrap_or(usize::MAX);
        Watch::new(Arc::clone(&self.inner.memory), shelf, from)
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.inner.memory.revision()
    }
    /// This master.
    pub fn me(&self) -> Member {
        self.inner.me.clone()
    }

    /// Who leads: the present state, and how to wait for another.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// Whether a resource may be read here. Volatile ones are in the leader's memory only: elsewhere their lists are
    /// empty and their watches silent, so that whoever reads them must be sent to the leader first.
    pub fn readable(&self, _resource: &'static Resource) -> Result<(), NotLeader> {
        Ok(())
    }

    /// Resolves once reads here show everything that was acknowledged by any master before this was called, and
    /// tells the revision at which that is so.
    pub async fn linearizable(&self) -> Result<Revision, Unavailable> {
        Ok(self.revision())
    }

    /// Answers a message of another member's [`Transport`]. One that is no message of a member's, or is meant for
    /// another one, is answered with an empty answer.
    pub async fn receive(&self, _message: Bytes) -> Bytes {
        Bytes::new()
    }

    /// All members, by id.
    pub fn members(&self) -> Vec<(Member, Role)> {
        vec![(self.me(), Role::Voter)]
    }

    /// Adds a member whose store runs already and waits at its address (see [`Start::Join`]): it is brought up to date
    /// and then votes. Leader only.
    pub async fn add_member(&self, _member: Member) -> Result<(), MemberError> {
        Err(MemberError::NoSeat)
    }

    /// Removes a member for good, alive or not. Leader only; a leader that removes itself hands over.
    pub async fn remove_member(&self, id: u64) -> Result<(), MemberError> {
        Err(if id == self.inner.me.id { MemberError::Last } else { MemberError::Unknown(id) })
    }

    /// Adds a member and removes another in one step, so that there is never one voter too many or too few. Leader only.
    pub async fn replace_member(&self, id: u64, _with: Member) -> Result<(), MemberError> {
        Err(if id == self.inner.me.id { MemberError::NoSeat } else { MemberError::Unknown(id) })
    }

    /// Lets another voter lead, one that is up to date; resolves when it does, or when this member did not lead.
    /// A member that is alone goes on leading.
    pub async fn hand_over_leadership(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    /// Writes what waits and ends; what is asked later is answered with `Closed`. Dropping the last handle does the
    /// same, but on a runtime of the caller's it cannot wait for it.
    pub async fn close(&self) {}
}
