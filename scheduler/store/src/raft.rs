//! The replicated log: what is replicated, between whom, and how patient they are. With its submodules the only
//! importer of openraft.
//!
//! An entry of the log is a [`Group`]: changes that a leader has decided already, together with the revision that it
//! decided them on. Applying one decides nothing; it refuses a group that was planned on another state than it meets.

pub(crate) mod inbox;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod messages;
pub(crate) mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::Fatal;
use openraft::type_config::alias;
use openraft::{Config, Membership, SnapshotPolicy};
use serde::{Deserialize, Serialize};

use crate::disk::Fault;
use crate::member::{Member, Role};
use machine::Machine;

openraft::declare_raft_types!(
    /// The types that openraft is parameterized by.
    pub(crate) Types:
        D = Group,
        R = Outcome,
        Node = Member,
);

pub(crate) type Raft = openraft::Raft<Types, Machine>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type LeaderId = alias::CommittedLeaderIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// How often a leader says that it leads.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// A follower that has heard nothing for the longer of these (which is also how long a leader may answer reads
/// without asking) and for a random time between the two asks to be elected.
const ELECTION_MIN: Duration = Duration::from_millis(250);
const ELECTION_MAX: Duration = Duration::from_millis(500);

/// A learner that is so many groups behind may vote: the rest comes with the next message or two.
const NEARLY_UP_TO_DATE_GROUPS: u64 = 64;

/// How long an unreachable member is left alone, at first and at the most.
const BACKOFF: &str = "50ms 100ms ...500ms";

/// Changes that take effect together or not at all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The revision of the group before, on whose state this one was planned.
    pub(crate) after: u64,
    /// The revision of the last change, of volatile resources too.
    pub(crate) revision: u64,
    /// Revisions up to here may be handed out; another leader begins above it.
    pub(crate) reserved: u64,
    /// The durable changes, as [`crate::disk::record`] writes them; empty where only revisions are reserved.
    pub(crate) records: Bytes,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revisions {}..={} in {} bytes", self.after, self.revision, self.records.len())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What became of a committed group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It took effect.
    Applied,
    /// It was planned on another state.
    Refused,
}

/// How far a state has come, as it stands beside the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last entry that is in it.
    pub(crate) log_id: Option<LogId>,
    /// The members as of that entry.
    pub(crate) membership: StoredMembership,
    /// The revision of the last group that is in it.
    pub(crate) revision: u64,
    /// Revisions up to here may have been handed out.
    pub(crate) reserved: u64,
}

impl Position {
    /// The beginning of a cluster that has one member, whatever was before.
    pub(crate) fn alone(me: &Member, log_id: LogId, revision: u64, reserved: u64) -> Self {
        let nodes = BTreeMap::from([(me.id, me.clone())]);
        #[expect(clippy::expect_used, reason = "the only voter is among the members")]
        let members = Membership::new(vec![BTreeSet::from([me.id])], nodes).expect("one member");
        Self { log_id: Some(log_id), membership: StoredMembership::new(Some(log_id), members), revision, reserved }
    }

    /// Whether that member is the whole cluster.
    pub(crate) fn is_alone(&self, id: u64) -> bool {
        let mut voters = self.membership.voter_ids();
        voters.next() == Some(id) && voters.next().is_none()
    }

    /// All members, by id.
    pub(crate) fn members(&self) -> Vec<(Member, Role)> {
        members(&self.membership)
    }
}

/// All members, by id.
pub(crate) fn members(membership: &StoredMembership) -> Vec<(Member, Role)> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let role = |id: &u64| if voters.contains(id) { Role::Voter } else { Role::Learner };
    membership.nodes().map(|(id, member)| (Member { id: *id, ..member.clone() }, role(id))).collect()
}

/// The log id at which a cluster of one begins: higher than any in a log that ended with `last`.
pub(crate) fn beginning(me: u64, last: Option<LogId>) -> LogId {
    let (term, index) = last.map_or((0, 0), |last| (last.committed_leader_id().term, last.index()));
    LogId::new(LeaderId { term: term + 1, node_id: me }, index + 1)
}

/// Written to disk and wire in the same form.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    Ok(postcard::to_allocvec(value)?)
}

/// The inverse of [`encode`].
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    Ok(postcard::from_bytes(bytes)?)
}

/// How this cluster's members behave.
pub(crate) fn config() -> Arc<Config> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Arc::new(Config {
        cluster_name: "wherry".into(),
        heartbeat_interval: millis(HEARTBEAT),
        election_timeout_min: millis(ELECTION_MIN),
        election_timeout_max: millis(ELECTION_MAX),
        replication_lag_threshold: NEARLY_UP_TO_DATE_GROUPS,
        // Every state is a snapshot at no cost; when to cut the log is the checkpoint's decision.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        // A leader that was away may have been followed by another one meanwhile.
        enable_leader_restore: Some(false),
        backoff: BACKOFF.into(),
        ..Config::default()
    })
}

/// Why a member's raft ended, in words for whoever's write it took along.
pub(crate) fn reason(fatal: &Fatal<Types>) -> Arc<str> {
    match fatal {
        Fatal::StorageError(error) => error.to_string().into(),
        other => other.to_string().into(),
    }
}
