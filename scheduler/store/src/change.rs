//! Changes of the members: one at a time, none that would leave too few to decide anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::{Instant, WatchReceiver};
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::type_config::alias::InstantOf;
use openraft::{ChangeMembers, RaftMetrics};

use crate::member::{Leadership, Member, MemberError, NotLeader, Unavailable};
use crate::node::Node;
use crate::raft::{Raft, Types};

/// How long a new member may take to receive everything.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(300);

/// How long the others may take to agree.
const PATIENCE: Duration = Duration::from_secs(10);

/// A member that answered within this time is there.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

type Change = ChangeMembers<u64, Member>;
type Moment = InstantOf<Types>;

/// Adds a voter.
pub(crate) async fn add(node: &Node, member: Member) -> Result<(), MemberError> {
    let raft = leading(node)?;
    ensure_quorum(node, &raft, Some(member.id), None).await?;
    bring_up_to_date(&raft, &member).await?;
    change(&raft, Change::AddVoterIds(BTreeSet::from([member.id])), true).await
}

/// Removes a member.
pub(crate) async fn remove(node: &Node, id: u64) -> Result<(), MemberError> {
    let raft = leading(node)?;
    ensure_known(node, id)?;
    ensure_quorum(node, &raft, None, Some(id)).await?;
    step_down(node, id).await?;
    change(&raft, removal(node, id), false).await
}

/// Adds a voter and removes a member in one step.
pub(crate) async fn replace(node: &Node, id: u64, with: Member) -> Result<(), MemberError> {
    let raft = leading(node)?;
    ensure_known(node, id)?;
    ensure_quorum(node, &raft, Some(with.id), Some(id)).await?;
    bring_up_to_date(&raft, &with).await?;
    step_down(node, id).await?;
    let added = Change::AddVoterIds(BTreeSet::from([with.id]));
    change(&raft, Change::Batch(vec![added, removal(node, id)]), false).await
}

/// A leader that is to go lets another lead, who is to be asked again: it could not answer for what the others decide without it.
async fn step_down(node: &Node, id: u64) -> Result<(), MemberError> {
    if id == node.me.id {
        hand_over(node).await?;
        leading(node)?;
    }
    Ok(())
}

/// Lets the best of the other voters lead.
pub(crate) async fn hand_over(node: &Node) -> Result<(), Unavailable> {
    let Ok(raft) = leading(node) else { return Ok(()) };
    if node.is_alone() {
        return Ok(());
    }
    let metrics = raft.metrics().borrow_watched().clone();
    let is_there = |id| heard(&metrics, id).is_some_and(|heard| heard.elapsed() < HEARD_WITHIN);
    let others = metrics.membership_config.voter_ids().filter(|id| *id != node.me.id && is_there(*id));
    let matched = |id: &u64| metrics.replication.as_ref().and_then(|all| all.get(id).cloned().flatten());
    let best = others.max_by_key(matched).ok_or(Unavailable)?;
    let _ = raft.trigger().transfer_leader(best).await;
    let mut leadership = node.leadership.subscribe();
    let led = |now: &Leadership| matches!(now, Leadership::Follower { leader: Some(_) });
    let handed = tokio::time::timeout(PATIENCE, leadership.wait_for(led)).await;
    handed.map(|_| ()).map_err(|_| Unavailable)
}

/// A voter that is removed goes altogether once it is no voter.
fn removal(node: &Node, id: u64) -> Change {
    let gone = BTreeSet::from([id]);
    let is_voter = node.machine.position().membership.voter_ids().any(|voter| voter == id);
    if is_voter { Change::RemoveVoters(gone) } else { Change::RemoveNodes(gone) }
}

fn leading(node: &Node) -> Result<Raft, MemberError> {
    match (&*node.leadership.borrow(), node.raft()) {
        (Leadership::Leader, Some(_)) if !node.has_seat => Err(MemberError::NoSeat),
        (Leadership::Leader, Some(raft)) => Ok(raft),
        (Leadership::Follower { leader }, _) => Err(NotLeader { leader: leader.clone() }.into()),
        _ => Err(Unavailable.into()),
    }
}

fn ensure_known(node: &Node, id: u64) -> Result<(), MemberError> {
    let is_known = node.machine.position().membership.get_node(&id).is_some();
    if is_known { Ok(()) } else { Err(MemberError::Unknown(id)) }
}

/// How many entries each other member lacks.
pub(crate) fn lags(node: &Node) -> BTreeMap<u64, u64> {
    let Some(raft) = node.raft() else { return BTreeMap::new() };
    let metrics = raft.metrics().borrow_watched().clone();
    let last = metrics.last_log_index.unwrap_or_default();
    let others = metrics.replication.into_iter().flatten().filter(|(id, _)| *id != node.me.id);
    others.map(|(id, matched)| (id, last.saturating_sub(matched.map_or(0, |matched| matched.index())))).collect()
}

/// Sees that of the voters as they would be, a majority is there and up to date. One that is added counts: it votes only
/// once it is. Those count that answer from now on: for one that has just died, the change itself would wait for ever, and
/// all writes with it.
async fn ensure_quorum(node: &Node, raft: &Raft, added: Option<u64>, removed: Option<u64>) -> Result<(), MemberError> {
    let began = Moment::now();
    let is_there = |metrics: &RaftMetrics<Types>, id| heard(metrics, id).is_some_and(|heard| heard >= began);
    let is_complete = |metrics: &RaftMetrics<Types>| {
        metrics.membership_config.voter_ids().all(|id| id == node.me.id || is_there(metrics, id))
    };
    let _ = raft.wait(Some(HEARD_WITHIN)).metrics(is_complete, "all masters answer").await;
    let metrics = raft.metrics().borrow_watched().clone();
    let mut voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
    voters.extend(added);
    if let Some(removed) = removed {
        voters.remove(&removed);
    }
    if voters.is_empty() {
        return Err(MemberError::Last);
    }
    let counts = |id: &&u64| **id == node.me.id || Some(**id) == added || is_there(&metrics, **id);
    let left = voters.iter().filter(counts).count();
    let voters = voters.len();
    if left * 2 > voters { Ok(()) } else { Err(MemberError::QuorumLost { voters, left }) }
}

/// When a member last answered.
fn heard(metrics: &RaftMetrics<Types>, id: u64) -> Option<Moment> {
    metrics.heartbeat.as_ref().and_then(|all| all.get(&id).cloned().flatten()).map(|heard| *heard)
}

async fn bring_up_to_date(raft: &Raft, member: &Member) -> Result<(), MemberError> {
    // A new address of a known member counts.
    change(raft, Change::SetNodes(BTreeMap::from([(member.id, member.clone())])), true).await?;
    let added = tokio::time::timeout(CATCH_UP_PATIENCE, raft.add_learner(member.id, member.clone(), true)).await;
    match added {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(told(&error)),
        Err(_) => {
            change(raft, Change::RemoveNodes(BTreeSet::from([member.id])), true).await?;
            Err(MemberError::Behind { name: member.name.clone(), address: member.address.clone() })
        }
    }
}

async fn change(raft: &Raft, change: Change, retain: bool) -> Result<(), MemberError> {
    match tokio::time::timeout(PATIENCE, raft.change_membership(change, retain)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(told(&error)),
        Err(_) => Err(Unavailable.into()),
    }
}

fn told(error: &RaftError<Types, ClientWriteError<Types>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
            MemberError::Busy
        }
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            let leader = to.leader_node.clone().zip(to.leader_id);
            NotLeader { leader: leader.map(|(member, id)| Member { id, ..member }) }.into()
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => Unavailable.into(),
        RaftError::APIError(error) => MemberError::Refused(error.to_string().into()),
        RaftError::Fatal(_) => Unavailable.into(),
    }
}
