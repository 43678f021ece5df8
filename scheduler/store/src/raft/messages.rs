//! What members say to each other, as bytes.
//!
//! Every message names the member that it is meant for: a master that lost its data and answers at the same address
//! is another one.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::{LogId, SnapshotMeta, Types, Vote};

/// Grows when the form of a message changes. Members of another protocol do not understand each other.
pub(crate) const PROTOCOL: u8 = 1;

/// A message and whom it is for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) protocol: u8,
    pub(crate) to: u64,
    pub(crate) message: Message,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Message {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    Snapshot(Piece),
    /// Asks the leader from where on reads are up to date.
    Barrier,
}

/// A part of a snapshot; the parts of one come in order.
#[derive(Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Which transfer it belongs to.
    pub(crate) transfer: u64,
    /// Its place in the transfer, from 0.
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    /// The piece was taken.
    More,
    /// The snapshot is complete and installed, or of no use.
    Installed(SnapshotResponse<Types>),
    Barrier(Barrier),
    /// Nothing came of it; why.
    Failed(String),
}

/// From where on reads are up to date.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Barrier {
    /// When this entry is applied.
    pub(crate) log_id: LogId,
    /// At least this revision is shown then.
    pub(crate) revision: u64,
}
