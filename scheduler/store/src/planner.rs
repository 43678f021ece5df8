//! The one task that decides writes: takes all commands that wait, plans them as one group, and sends it through the
//! log. The next group gathers meanwhile.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::{ReadPolicy, TryAsRef};
use tokio::sync::{mpsc, oneshot};

use crate::command::ProposeError;
use crate::member::{Leadership, Member, NotLeader, Unavailable};
use crate::node::{Node, Stage, Status};
use crate::plan::Proposal;
use crate::raft::machine::Step;
use crate::raft::{self, Group, LeaderId, Outcome, Raft, Types};

/// How many commands one fsync carries at the most.
const GROUP_COMMANDS_MAX: usize = 1024;

/// A group with so many bytes of JSON takes no further command.
const GROUP_BYTES_FULL: usize = 8 << 20;

/// After so long without a majority, whoever waits is told that it is not known what will become of the write.
const PATIENCE: Duration = Duration::from_secs(5);

type Queue = mpsc::Receiver<Proposal>;

/// Works until the store closes and nothing waits any more.
pub(crate) async fn run(node: &Node, mut queue: Queue) {
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            first = queue.recv() => match first {
                Some(first) => carry_out(node, gather(first, &mut queue), &mut queue).await,
                None => break,
            },
            () = node.reached(Stage::Closing), if !is_closing => {
                is_closing = true;
                queue.close();
            }
        }
    }
    node.enter(Stage::Planned);
}

async fn carry_out(node: &Node, proposals: Vec<Proposal>, queue: &mut Queue) {
    let proposals = match step(node, proposals, queue).await {
        None => return,
        Some(proposals) => proposals,
    };
    // This member does not lead; it may be about to, if nobody else can.
    let error = match office(node).await {
        Err(error) => error,
        Ok(()) => match step(node, proposals, queue).await {
            None => return,
            Some(proposals) => return refuse(proposals, &not_leader(node)),
        },
    };
    refuse(proposals, &error);
}

/// Plans a group and carries it out; gives it back where this member does not lead.
async fn step(node: &Node, proposals: Vec<Proposal>, queue: &mut Queue) -> Option<Vec<Proposal>> {
    match node.machine.plan(proposals) {
        Step::Elsewhere(proposals) => return Some(proposals),
        Step::Show(plan, ground) => match confirm(node).await {
            Ok(()) => node.machine.show(plan, &ground),
            Err(error) => plan.refuse(&error),
        },
        Step::Log(group, office) => {
            let error = replicate(node, group, office, queue).await;
            if let Some(plan) = node.machine.take_back() {
                plan.refuse(&error);
            }
        }
    }
    None
}

/// Waits for an office that this member can have by itself; else tells why it has none.
async fn office(node: &Node) -> Result<(), ProposeError> {
    let mut status = node.status.subscribe();
    let failure = match &*status.borrow_and_update() {
        Status::Down { failure, .. } => Some(*failure),
        _ => None,
    };
    if failure.is_some() {
        node.nudge.notify_one();
        let _ = tokio::time::timeout(PATIENCE, status.wait_for(|status| status.failure() != failure)).await;
    }
    if let Status::Down { reason, .. } = &*status.borrow() {
        return Err(ProposeError::Disk(Arc::clone(reason)));
    }
    if !node.is_alone() {
        return Err(not_leader(node));
    }
    let mut leadership = node.leadership.subscribe();
    let leads = leadership.wait_for(|now| *now == Leadership::Leader);
    tokio::select! {
        led = tokio::time::timeout(PATIENCE, leads) => match led {
            Ok(_) => Ok(()),
            Err(_) => Err(Unavailable.into()),
        },
        _ = status.wait_for(|status| status.failure().is_some()) => Err(ProposeError::Disk("the disk failed".into())),
    }
}

fn not_leader(node: &Node) -> ProposeError {
    let leader = match &*node.leadership.borrow() {
        Leadership::Follower { leader } => leader.clone(),
        _ => None,
    };
    NotLeader { leader }.into()
}

/// Makes sure that nobody else leads meanwhile.
async fn confirm(node: &Node) -> Result<(), ProposeError> {
    let raft = node.raft().ok_or_else(|| not_leader(node))?;
    if raft.get_read_linearizer(ReadPolicy::LeaseRead).await.is_ok() {
        return Ok(());
    }
    match tokio::time::timeout(PATIENCE, raft.get_read_linearizer(ReadPolicy::ReadIndex)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(not_leader(node)),
    }
}

/// Sends a group through the log. Tells what to answer where it did not take effect as planned.
async fn replicate(node: &Node, group: Group, office: LeaderId, queue: &mut Queue) -> ProposeError {
    let Status::Running { raft, life } = node.status.borrow().clone() else { return not_leader(node) };
    let (responder, completed) = ProgressResponder::complete_only();
    let submitted = raft.write(group).with_leader(office).responder(responder).await;
    let outcome = match submitted {
        Ok(()) => wait(node, completed, queue).await,
        Err(fatal) => Err(Some(fatal)),
    };
    match outcome {
        Ok(result) => answer(result),
        Err(None) => Unavailable.into(),
        Err(Some(fatal)) => {
            let reason = raft::reason(&running_state(&raft).unwrap_or(fatal));
            if let Some(plan) = node.machine.take_back() {
                plan.refuse(&ProposeError::Disk(Arc::clone(&reason)));
            }
            // What comes next is tried on another life.
            let is_over = |status: &Status| !matches!(status, Status::Running { life: now, .. } if *now == life);
            let _ = tokio::time::timeout(PATIENCE, node.status.subscribe().wait_for(is_over)).await;
            ProposeError::Disk(reason)
        }
    }
}

fn running_state(raft: &Raft) -> Option<Fatal<Types>> {
    raft.metrics().borrow_watched().running_state.clone().err()
}

/// Waits for the group's fate. Without a majority that may be long: then all who wait are told so.
async fn wait(
    node: &Node,
    mut completed: oneshot::Receiver<ClientWriteResult<Types>>,
    queue: &mut Queue,
) -> Result<ClientWriteResult<Types>, Option<Fatal<Types>>> {
    if let Ok(result) = tokio::time::timeout(PATIENCE, &mut completed).await {
        return result.map_err(|_| Some(Fatal::Stopped));
    }
    if let Some(plan) = node.machine.take_back() {
        plan.refuse(&Unavailable.into());
    }
    loop {
        tokio::select! {
            result = &mut completed => return result.map_err(|_| Some(Fatal::Stopped)),
            Some(proposal) = queue.recv() => refuse(vec![proposal], &Unavailable.into()),
            () = node.reached(Stage::Closing) => return Err(None),
        }
    }
}

/// What to answer to those whom the applied group has not answered: usually nobody.
fn answer(result: ClientWriteResult<Types>) -> ProposeError {
    match result {
        Ok(response) if response.data == Outcome::Refused => NotLeader { leader: None }.into(),
        Ok(_) | Err(ClientWriteError::LogEntryDiscarded(_)) => Unavailable.into(),
        Err(error) => NotLeader { leader: leader(&error) }.into(),
    }
}

fn leader(error: &ClientWriteError<Types>) -> Option<Member> {
    let forward: &openraft::errors::ForwardToLeader<Types> = error.try_as_ref()?;
    Some(Member { id: forward.leader_id?, ..forward.leader_node.clone()? })
}

fn refuse(proposals: Vec<Proposal>, error: &ProposeError) {
    for proposal in proposals {
        let _ = proposal.answer.send(Err(error.clone()));
    }
}

/// The command and all that wait behind it, up to a group's size.
fn gather(first: Proposal, queue: &mut Queue) -> Vec<Proposal> {
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_COMMANDS_MAX
        && bytes < GROUP_BYTES_FULL
        && let Ok(next) = queue.try_recv()
    {
        bytes += next.bytes();
        group.push(next);
    }
    group
}
