//! Opening and closing: what the two files hold, whose they are, and where the member's tasks run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, mpsc, watch};
use wherry_api::{ObjectKey, RESOURCES};
use wherry_base::{Rng, Trigger};

use crate::checkpoint::{Batch, Pending};
use crate::command::ProposeError;
use crate::disk::log::{Fact, Log};
use crate::disk::state::State;
use crate::disk::{Fault, File, Medium, legacy};
use crate::member::{Leadership, Member, Seat, Start};
use crate::memory::{Keep, Objects};
use crate::node::{Node, Stage, Status};
use crate::object::{Entry, Interner};
use crate::plan::Proposal;
use crate::raft::log::tail::Kept;
use crate::raft::machine::{Machine, is_volatile};
use crate::raft::network::Network;
use crate::raft::{self, LogId, Position, Vote};
use crate::{Limits, OpenError, planner};

/// The members' ids survive JSON's numbers.
const ID_BITS: u32 = 53;

/// An open store: what its handles share. Dropping it waits until all is on disk.
pub(crate) struct Running {
    pub(crate) node: Arc<Node>,
    queue: mpsc::Sender<Proposal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    /// Queues a command for the planner.
    pub(crate) fn submit(&self, proposal: Proposal) -> Result<(), ProposeError> {
        self.queue.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Closed,
        })
    }

    /// Ends, and resolves once all is on the disk.
    pub(crate) async fn close(&self) {
        self.node.enter(Stage::Closing);
        self.node.reached(Stage::Ended).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.enter(Stage::Closing);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread panicked; the log has everything that was acknowledged");
        }
    }
}

/// What a member's tasks begin with.
struct Life {
    node: Arc<Node>,
    log: Log,
    state: Arc<State>,
    queue: mpsc::Receiver<Proposal>,
}

impl Life {
    async fn live(self) {
        let Self { node, log, state, queue } = self;
        let ((), log, ()) =
            tokio::join!(planner::run(&node, queue), node.run(log), node.pending.run(node.me.id, state));
        if let Some(log) = log {
            let settled = *node.pending.settled().borrow();
            log.finish(settled).await;
        }
        node.enter(Stage::Ended);
    }
}

/// Opens both files and starts the tasks.
pub(crate) fn open(medium: Arc<dyn Medium>, limits: Limits, seat: Option<Seat>) -> Result<Running, OpenError> {
    let rng = Arc::new(Rng::from_entropy());
    let log = Log::open(Arc::clone(&medium))?;
    let state = State::open(Arc::clone(&medium))?;
    let me = own(&log, &state, seat.as_ref(), &rng)?;
    log.database().and_then(|log| legacy::forget(&log)).map_err(|source| log.damaged(source))?;
    let (transport, runtime) = seat.map(|seat| (seat.transport, seat.runtime)).unzip();
    let (objects, position) = state.load()?;
    let first = Batch { objects: volatile(&objects), position: position.clone() };
    let pending = Arc::new(Pending::starting_with(first, limits.checkpoint_objects));
    let (queue, commands) = mpsc::channel(limits.commands_waiting_max.max(1));
    let kept = Kept { entries: limits.log_groups_kept, bytes: limits.log_bytes_kept };
    let machine = Machine::new(me.id, objects, position, Keep::new(&limits), Arc::clone(&pending));
    let network = Network { transport, members: machine.members(), rng };
    let node = Arc::new(Node {
        me,
        has_seat: network.transport.is_some(),
        has_thread: runtime.as_ref().is_none_or(Option::is_none),
        machine,
        pending,
        network,
        medium: Arc::clone(&medium),
        kept,
        status: watch::Sender::new(Status::Starting),
        leadership: watch::Sender::new(Leadership::Follower { leader: None }),
        incoming: Mutex::default(),
        nudge: Notify::new(),
        stage: watch::Sender::new(Stage::Open),
    });
    let life = Life { node: Arc::clone(&node), log, state: Arc::new(state), queue: commands };
    let thread = match runtime.flatten() {
        Some(runtime) => {
            live_on(&runtime, life);
            None
        }
        None => Some(live_apart(life).map_err(|source| OpenError::Io { path: medium.path(File::Log), source })?),
    };
    Ok(Running { node, queue, thread: Mutex::new(thread) })
}

/// The tasks run on a runtime of the caller's; nobody waits for them here.
fn live_on(runtime: &Handle, life: Life) {
    let _entered = runtime.enter();
    Trigger::new().drain().spawn_graceful(life.live());
}

/// The tasks run on a thread of their own, so that neither the API's load nor the node's delays a heartbeat. Returns
/// when raft has started, and a member that is alone leads.
fn live_apart(life: Life) -> Result<JoinHandle<()>, Fault> {
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let node = Arc::clone(&life.node);
    let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
        runtime.block_on(async {
            let started = async {
                let _ = ready.send(started(&node).await);
            };
            tokio::join!(started, wherry_base::vital(life.live()));
        });
    })?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(thread),
        failed => {
            let _ = thread.join();
            Err(failed.map_or_else(|_| "its thread panicked".into(), |reason| reason.err().unwrap_or_default().into()))
        }
    }
}

/// Waits until there is something to serve; where the disk fails at once, ends the member's life.
async fn started(node: &Node) -> Result<(), String> {
    loop {
        let mut status = node.status.subscribe();
        let now = status.wait_for(|status| !matches!(status, Status::Starting)).await.map(|status| status.clone());
        if let Ok(Status::Down { reason, .. }) = now {
            node.enter(Stage::Closing);
            return Err(reason.to_string());
        }
        let is_alone = node.is_alone();
        let mut leadership = node.leadership.subscribe();
        tokio::select! {
            _ = leadership.wait_for(|now| !is_alone || *now == Leadership::Leader) => return Ok(()),
            _ = status.wait_for(|status| status.failure().is_some()) => {}
        }
    }
}

/// Finds out whose files these are. New ones become this member's; those of an older format are taken over.
fn own(log: &Log, state: &State, seat: Option<&Seat>, rng: &Rng) -> Result<Member, OpenError> {
    let (name, address) = seat.map(|seat| (seat.name.clone(), seat.address.clone())).unwrap_or_default();
    let member = |id| Member { id, name, address };
    let me = match (state.member()?, log.member()?) {
        (Some(state), Some(log)) if state == log => return Ok(member(state)),
        (Some(_), None) => return Err(log.damaged("it is missing or empty, though there is a state beside it".into())),
        (Some(_), Some(_)) => return Err(log.damaged("it is another master's than the state beside it".into())),
        // The log is marked first, the state last: this was interrupted in between.
        (None, Some(id)) if log.last().map_err(|source| log.damaged(source))?.is_none() => member(id),
        (None, Some(_)) => return Err(state.damaged("it is missing or empty, though there is a log beside it".into())),
        (None, None) => member(draw(rng)),
    };
    let groups = log.database().map_err(|source| log.damaged(source))?;
    let old = state.read(|state| legacy::read(&groups, state, &mut Interner::default()))?;
    let start = seat.map_or(Start::Found, |seat| seat.start);
    let nothing = || RESOURCES.iter().map(|_| Objects::new()).collect();
    let beginning = raft::beginning(me.id, None);
    let (objects, position) = match (old, start) {
        (Some(old), _) => (old.objects, Position::alone(&me, beginning, old.revision, old.revision)),
        (None, Start::Found) => (nothing(), Position::alone(&me, beginning, 0, 0)),
        (None, Start::Join) => (nothing(), Position::default()),
    };
    rebase(log, &me, position.log_id)?;
    state.replace(me.id, &objects, &position).map_err(|source| state.damaged(source))?;
    Ok(me)
}

fn draw(rng: &Rng) -> u64 {
    (rng.next() >> (u64::BITS - ID_BITS)).max(1)
}

/// Empties the log; the next entry follows `beginning`.
fn rebase(log: &Log, me: &Member, beginning: Option<LogId>) -> Result<(), OpenError> {
    let facts = || -> Result<Vec<(Fact, Vec<u8>)>, Fault> {
        let Some(log_id) = beginning else { return Ok(Vec::new()) };
        let vote = Vote::new_committed(log_id.committed_leader_id().term, me.id);
        let log_id = raft::encode(&log_id)?;
        Ok(vec![(Fact::Vote, raft::encode(&vote)?), (Fact::Purged, log_id.clone()), (Fact::Committed, log_id)])
    };
    log.rebase(me.id, &facts().map_err(|source| log.damaged(source))?)
}

/// Makes a member the whole cluster, with everything that it has, under a new id: those that were its peers are
/// strangers from then on. Its id is returned.
pub(crate) fn restore_alone(medium: Arc<dyn Medium>) -> Result<u64, OpenError> {
    let log = Log::open(Arc::clone(&medium))?;
    let state = State::open(medium)?;
    let was = state.member()?.ok_or_else(|| state.damaged("there is no master's data".into()))?;
    let (mut objects, position) = state.load()?;
    if log.member()? != Some(was) {
        // Interrupted between the two files: the state is complete.
        let me = Member { id: was, ..Member::default() };
        rebase(&log, &me, position.log_id)?;
        return Ok(was);
    }
    let replayed = raft::log::replay(&log, &mut objects, position, &mut Interner::default());
    let position = replayed.map_err(|source| log.damaged(source))?;
    for (_, shelf) in objects.iter_mut().enumerate().filter(|(place, _)| is_volatile(*place)) {
        *shelf = Objects::new();
    }
    let known = position.membership.get_node(&was).cloned().unwrap_or_default();
    let me = Member { id: draw(&Rng::from_entropy()), ..known };
    let beginning = raft::beginning(me.id, position.log_id);
    let position = Position::alone(&me, beginning, position.revision, position.reserved);
    state.replace(me.id, &objects, &position).map_err(|source| state.damaged(source))?;
    rebase(&log, &me, position.log_id)?;
    Ok(me.id)
}

/// The removal of all volatile objects: they were written when the store was last closed, and will be again; until
/// then the state must not have them, or a crash would bring them back as they were.
fn volatile(objects: &[Objects]) -> BTreeMap<(usize, ObjectKey), Option<Arc<Entry>>> {
    let volatile = objects.iter().enumerate().filter(|(place, _)| is_volatile(*place));
    volatile.flat_map(|(place, objects)| objects.keys().map(move |key| ((place, key.clone()), None))).collect()
}
