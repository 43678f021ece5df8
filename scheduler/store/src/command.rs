//! The one way in: commands. Everything random or timed (uids, timestamps, names) was decided before and travels inside.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wherry_api::{ObjectKey, Resource, Revision};

use crate::member::{NotLeader, Unavailable};
use crate::object::{Encoded, Entry};

/// A write. Applying it is deterministic: the same log gives the same state on every master.
#[derive(Clone, Debug)]
pub enum Command {
    /// Writes an object if what is expected holds.
    Put {
        /// Which resource.
        resource: &'static Resource,
        /// Which object.
        key: ObjectKey,
        /// What must hold.
        expect: Expect,
        /// The object, without its revision.
        object: Encoded,
    },
    /// Removes an object if what is expected holds.
    Delete {
        /// Which resource.
        resource: &'static Resource,
        /// Which object.
        key: ObjectKey,
        /// What must hold.
        expect: Expect,
    },
}

/// What must hold of the present object for a command to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// There is none of that name.
    Absent,
    /// It has this very revision.
    Revision(Revision),
}

/// A command that took effect.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The revision of the write.
    pub revision: Revision,
    /// The object as stored; for a deletion its last state, its `resourceVersion` being that of the deletion.
    pub entry: Arc<Entry>,
}

/// Why a command took no effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// What was expected does not hold.
    #[error("the object is not as expected")]
    Conflict(Conflict),
    /// Too many commands wait for the disk; nothing was written.
    #[error("too many writes are waiting for the disk")]
    Overloaded,
    /// The disk refused the write; nothing was written.
    #[error("the write could not be made durable: {0}")]
    Disk(Arc<str>),
    /// Another master decides; nothing was written.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The masters could not agree in time: the write may still take effect, or not.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store is closing.
    #[error("the store is closed")]
    Closed,
}

/// What stood in a command's way.
#[derive(Clone, Debug)]
pub enum Conflict {
    /// There is an object where none was expected, or another version.
    Exists(Arc<Entry>),
    /// There is no such object.
    Missing,
}
