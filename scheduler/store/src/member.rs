//! The masters that share one store: who they are, how they reach each other, who leads.
//!
//! The types and the errors only; what moves between members, and when, is the log's business. Knows nothing of HTTP:
//! a [`Transport`] carries opaque messages, whose receiver hands them to [`crate::Store::receive`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

/// The longest message that is given to a [`Transport`], in bytes; answers are far shorter.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// One master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Drawn once for each data directory and never used again: a master that lost its data is another member.
    /// Below 2^53, so that it survives JSON.
    pub id: u64,
    /// What people call it; may be taken again by another member.
    pub name: String,
    /// Where its API is reached, as `host:port`.
    pub address: String,
}

/// What a member may do in votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It counts for the quorum.
    Voter,
    /// It is being brought up to date and does not count yet.
    Learner,
}

/// Who decides at present, as far as this member knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This member: its proposals are carried out.
    Leader,
    /// Another one, if any is known.
    Follower {
        /// Whom to ask.
        leader: Option<Member>,
    },
    /// This member led last, but no majority answers it: nothing can be decided by it.
    Isolated,
}

/// A member's place among the others, given when its store is opened.
#[derive(Clone)]
pub struct Seat {
    /// See [`Member::name`].
    pub name: String,
    /// See [`Member::address`].
    pub address: String,
    /// How others are reached.
    pub transport: Arc<dyn Transport>,
    /// What to do where the directory is new.
    pub start: Start,
    /// Where the store's tasks run; a thread of the store's own where none is given. A test that owns the time gives
    /// its own runtime, and ends the store with [`crate::Store::close`].
    pub runtime: Option<Handle>,
}

/// How the store of a new directory begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As a cluster of one.
    Found,
    /// Empty, until the leader of a cluster adds it.
    Join,
}

/// Carries messages between members.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Hands `message` (at most [`MESSAGE_BYTES_MAX`]) to the member's [`crate::Store::receive`] and returns its answer.
    /// Waits no longer than a few seconds; may be dropped at any time. A message may arrive although this fails.
    async fn send(&self, to: &Member, message: Bytes) -> Result<Bytes, TransportError>;
}

/// A message was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the master was not reached: {0}")]
pub struct TransportError(pub String);

/// Only the leader has this resource, or may write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another master leads")]
pub struct NotLeader {
    /// Whom to ask; none while the masters elect one.
    pub leader: Option<Member>,
}

/// The masters could not agree in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no majority of the masters answered in time")]
pub struct Unavailable;

/// Why the members were not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MemberError {
    /// Ask the leader.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The masters could not agree in time; the change may be under way.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store was opened without a seat.
    #[error("this master has no address at which others could reach it")]
    NoSeat,
    /// There is no such member.
    #[error("no master has the id {0}")]
    Unknown(u64),
    /// The last voter cannot go.
    #[error("the last master cannot be removed")]
    Last,
    /// Too few others are up to date.
    #[error(
        "without it only {left} of {voters} masters would be up to date, fewer than the majority: bring the others \
         back first, or remove those that will not return"
    )]
    QuorumLost {
        /// How many voters there would be.
        voters: usize,
        /// How many of them are up to date.
        left: usize,
    },
    /// It did not catch up.
    #[error("the master {name} at {address} did not catch up in time; it was left out")]
    Behind {
        /// Its name.
        name: String,
        /// Where it was to be reached.
        address: String,
    },
    /// The log did not take the change.
    #[error("the masters were not changed: {0}")]
    Refused(Arc<str>),
    /// One change at a time.
    #[error("another change of the masters is under way")]
    Busy,
}
