//! A member's life: raft is started, followed and, where the disk failed it, started again; offices are taken and left.
//!
//! Three tasks live side by side (this one, the planner's and the checkpoint's), and end in that order: first no more
//! is planned, then raft ends, then what is left goes into the state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::{Instant, WatchReceiver};
use openraft::metrics::RaftServerMetrics;
use openraft::{ChangeMembers, ReadPolicy, ServerState};
use tokio::sync::{Notify, watch};
use wherry_base::Backoff;

use crate::checkpoint::Pending;
use crate::disk::log::Log;
use crate::disk::{Fault, Medium};
use crate::member::{Leadership, Member};
use crate::raft::log::{LogStore, tail::Kept};
use crate::raft::machine::Machine;
use crate::raft::network::Network;
use crate::raft::{self, LeaderId, Raft, Types, inbox::Incoming};

/// How long to rest before raft is started again after the disk failed, at first and at the most. A write that comes
/// meanwhile does not wait for it.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MOST: Duration = Duration::from_secs(5);

/// A leader that no majority has answered for so long says so.
const ISOLATED_AFTER: Duration = Duration::from_secs(1);

/// How often what has no event of its own is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a member's tasks and its handles share.
pub(crate) struct Node {
    pub(crate) me: Member,
    pub(crate) has_seat: bool,
    /// Whether the tasks run on a thread of the store's own.
    pub(crate) has_thread: bool,
    pub(crate) machine: Machine,
    pub(crate) pending: Arc<Pending>,
    pub(crate) network: Network,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) kept: Kept,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) incoming: Mutex<Option<Incoming>>,
    /// Asks for raft to be started again now.
    pub(crate) nudge: Notify,
    pub(crate) stage: watch::Sender<Stage>,
}

/// How far towards the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Open,
    /// Nothing new is taken.
    Closing,
    /// Nothing is planned any more.
    Planned,
    /// All is on the disk.
    Ended,
}

/// Raft's state, as far as this member's life goes.
#[derive(Clone)]
pub(crate) enum Status {
    Starting,
    Running {
        raft: Raft,
        /// Which start this is.
        life: u64,
    },
    Down {
        reason: Arc<str>,
        /// Which failure this is.
        failure: u64,
    },
}

impl Status {
    pub(crate) const fn failure(&self) -> Option<u64> {
        match self {
            Self::Down { failure, .. } => Some(*failure),
            _ => None,
        }
    }
}

impl Node {
    /// Raft, if it runs.
    pub(crate) fn raft(&self) -> Option<Raft> {
        match &*self.status.borrow() {
            Status::Running { raft, .. } => Some(raft.clone()),
            _ => None,
        }
    }

    /// Whether this member is the whole cluster.
    pub(crate) fn is_alone(&self) -> bool {
        self.machine.is_alone()
    }

    pub(crate) async fn reached(&self, stage: Stage) {
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.send_if_modified(|now| std::mem::replace(now, (*now).max(stage)) < stage);
    }

    /// Runs raft until nothing is planned any more. The log is returned where it is sound: what the state will have of it
    /// can go.
    pub(crate) async fn run(&self, disk: Log) -> Option<LogStore> {
        let mut disk = Some(disk);
        let mut certain = None;
        let mut backoff = Backoff::new(RESTART_FIRST, RESTART_MOST);
        for life in 0.. {
            match self.start(disk.take(), certain, life).await {
                Ok((raft, log)) => {
                    backoff.reset();
                    self.follow(&raft, &log).await;
                    let is_over = *self.stage.borrow() >= Stage::Planned;
                    self.stop(&raft, is_over).await;
                    if is_over {
                        return Some(log);
                    }
                    log.close().await;
                    certain = log.durable();
                }
                Err(error) => tracing::warn!(%error, "the store cannot use its disk; it is tried again"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.fail()) => {}
                () = self.nudge.notified() => {}
                () = self.reached(Stage::Planned) => break,
            }
        }
        self.pending.close();
        None
    }

    async fn start(&self, disk: Option<Log>, certain: Option<u64>, life: u64) -> Result<(Raft, LogStore), Fault> {
        let started = self.try_start(disk, certain).await;
        if let Ok((raft, _)) = &started
            && let Ok(members) = raft.with_raft_state(|raft| raft::members(raft.membership_state.effective())).await
        {
            self.machine.show_members(members);
        }
        self.status.send_replace(match &started {
            Ok((raft, _)) => Status::Running { raft: raft.clone(), life },
            Err(error) => Status::Down { reason: error.to_string().into(), failure: life },
        });
        started
    }

    async fn try_start(&self, disk: Option<Log>, certain: Option<u64>) -> Result<(Raft, LogStore), Fault> {
        let (medium, kept) = (Arc::clone(&self.medium), self.kept);
        let opened = wherry_base::spawn_blocking(move || -> Result<LogStore, Fault> {
            let disk = disk.map_or_else(|| Log::open(medium), Ok)?;
            LogStore::open(disk, certain, kept)
        });
        let log = opened.await??;
        let started =
            Raft::new(self.me.id, raft::config(), self.network.clone(), log.clone(), self.machine.clone()).await;
        match started {
            Ok(raft) => Ok((raft, log)),
            Err(fatal) => {
                log.close().await;
                Err(fatal.into())
            }
        }
    }

    /// Does what raft's state asks for, until raft ends or nothing is planned any more.
    async fn follow(&self, raft: &Raft, log: &LogStore) {
        let mut server = raft.server_metrics();
        tokio::select! {
            () = self.reached(Stage::Planned) => {}
            () = self.compact(raft, log) => {}
            () = async {
                loop {
                    let seen = server.borrow_and_update().clone();
                    tokio::select! {
                        changed = server.changed() => if changed.is_err() { return },
                        () = self.take_part(raft, log, seen) => {}
                    }
                }
            } => {}
        }
    }

    /// Never ends.
    async fn take_part(&self, raft: &Raft, log: &LogStore, seen: RaftServerMetrics<Types>) {
        // Whoever is alone elects itself, and has nobody to send anything to.
        let has_others = seen.membership_config.nodes().count() > 1;
        raft.runtime_config().tick(has_others);
        log.keep(if has_others { self.kept } else { Kept::LITTLE });
        log.wait_for_disk(!has_others && self.has_thread);
        self.machine.show_members(raft::members(&seen.membership_config));
        let is_only_voter = seen.membership_config.voter_ids().eq([self.me.id]);
        if seen.state == ServerState::Leader {
            self.take_office(raft, seen.vote.leader_id).await;
            return if is_only_voter { std::future::pending().await } else { self.listen(raft).await };
        }
        self.machine.leave_office();
        let leader = seen.current_leader.filter(|id| *id != self.me.id);
        let leader = leader.and_then(|id| Some(Member { id, ..seen.membership_config.get_node(&id)?.clone() }));
        self.announce(Leadership::Follower { leader });
        if is_only_voter {
            let _ = raft.trigger().elect(false).await;
        }
        std::future::pending().await
    }

    async fn take_office(&self, raft: &Raft, office: LeaderId) {
        while self.machine.office() != Some(office) {
            match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(_) => self.machine.take_office(office),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        self.announce(Leadership::Leader);
        self.correct_address(raft).await;
    }

    /// Says whether a majority answers. Never ends.
    async fn listen(&self, raft: &Raft) {
        loop {
            tokio::time::sleep(LOOK).await;
            let acked = raft.metrics().borrow_watched().last_quorum_acked;
            let is_heard = acked.is_some_and(|acked| acked.elapsed() < ISOLATED_AFTER);
            self.announce(if is_heard { Leadership::Leader } else { Leadership::Isolated });
        }
    }

    /// Tells the others where this member is now.
    async fn correct_address(&self, raft: &Raft) {
        let known = self.machine.position().membership.get_node(&self.me.id).cloned();
        if known.is_some_and(|known| self.has_seat && known != self.me) {
            let here = ChangeMembers::SetNodes(BTreeMap::from([(self.me.id, self.me.clone())]));
            if let Err(error) = raft.change_membership(here, true).await {
                tracing::warn!(%error, "the other masters were not told this one's new address");
            }
        }
    }

    fn announce(&self, now: Leadership) {
        self.leadership.send_if_modified(|was| {
            let is_news = *was != now;
            *was = now;
            is_news
        });
    }

    /// Cuts the log whenever the state has more of it. Never ends.
    async fn compact(&self, raft: &Raft, log: &LogStore) {
        let mut settled = self.pending.settled();
        loop {
            let through = settled.borrow_and_update().map_or(0, |log_id| log_id.index());
            if let Some(upto) = log.cut(through) {
                let has_snapshot = |metrics: &openraft::RaftMetrics<Types>| {
                    metrics.snapshot.as_ref().is_some_and(|snapshot| snapshot.index() >= upto)
                };
                let _ = raft.trigger().snapshot().await;
                let _ = raft.wait(Some(ISOLATED_AFTER)).metrics(has_snapshot, "the log can be cut").await;
                let _ = raft.trigger().purge_log(upto).await;
            }
            if settled.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn stop(&self, raft: &Raft, is_over: bool) {
        if is_over {
            self.give_back_numbers(raft).await;
        }
        let _ = raft.shutdown().await;
        if is_over {
            self.machine.bequeath();
            self.pending.close();
        }
        self.machine.leave_office();
        self.announce(Leadership::Isolated);
        let reason = "the store's disk failed".into();
        self.status.send_replace(Status::Down { reason, failure: u64::MAX });
    }

    async fn give_back_numbers(&self, raft: &Raft) {
        let Some((group, _)) = self.machine.farewell() else { return };
        let written = tokio::time::timeout(ISOLATED_AFTER, raft.client_write(group)).await;
        if !matches!(written, Ok(Ok(_))) {
            tracing::warn!("the log could not be closed cleanly; revisions will skip ahead");
        }
    }
}
