//! The one thread that changes anything: takes all commands that wait, decides them, makes them durable with one
//! fsync, shows them, and answers.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use wherry_api::{RESOURCES, Revision};

use crate::checkpoint::Pending;
use crate::command::{Applied, ProposeError};
use crate::disk::Fault;
use crate::disk::log::{Append, Log};
use crate::memory::{Keep, Memory, Objects};
use crate::object::Interner;
use crate::plan::{Plan, Proposal, plan};

/// How many commands one fsync carries at the most.
const GROUP_COMMANDS_MAX: usize = 1024;

/// A group with so many bytes of JSON takes no further command.
const GROUP_BYTES_FULL: usize = 8 << 20;

/// How many revisions are reserved at once: volatile changes need an fsync only when these are used up.
const RESERVED_REVISIONS: u64 = 16_384;

/// The writer's own things.
pub(crate) struct Writer {
    pub(crate) memory: Arc<Memory>,
    pub(crate) objects: Vec<Objects>,
    /// The last revision that was used, if only for a write that failed.
    pub(crate) revision: Revision,
    pub(crate) reserved: u64,
    pub(crate) log: Log,
    pub(crate) keep: Keep,
    pub(crate) interner: Interner,
    pub(crate) pending: Arc<Pending>,
    pub(crate) checkpoint: JoinHandle<()>,
}

impl Writer {
    /// Works until the last proposer is gone.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Proposal>) {
        while let Some(first) = queue.blocking_recv() {
            self.carry_out(gather(first, &mut queue));
        }
        self.close();
    }

    fn carry_out(&mut self, group: Vec<Proposal>) {
        let mut plan = plan(&self.objects, self.revision, group, &mut self.interner);
        for (answer, conflict) in plan.refused.drain(..) {
            let _ = answer.send(Err(ProposeError::Conflict(conflict)));
        }
        if plan.changes.is_empty() {
            return;
        }
        // Numbers of a failed group stay unused: what became of it on the disk is not known.
        self.revision = plan.revision;
        match self.log_group(&plan) {
            Ok(()) => self.apply(plan),
            Err(error) => refuse(plan, &error),
        }
    }

    /// Makes the group durable; nothing to do where it is volatile and its numbers are reserved already.
    fn log_group(&mut self, plan: &Plan) -> Result<(), Fault> {
        if plan.group.is_empty() && plan.revision.0 <= self.reserved {
            return Ok(());
        }
        let left = self.reserved.saturating_sub(plan.revision.0);
        let reserved = if left < RESERVED_REVISIONS / 2 { plan.revision.0 + RESERVED_REVISIONS } else { self.reserved };
        let settled = self.pending.settled();
        self.log.append(&Append { group: &plan.group, revision: plan.revision.0, reserved, settled })?;
        self.reserved = reserved;
        Ok(())
    }

    fn apply(&mut self, plan: Plan) {
        self.memory.publish(&plan.changes, &plan.objects, plan.revision, &mut self.keep);
        self.objects = plan.objects;
        let accepted = plan.changes.iter().zip(plan.accepted);
        for ((_, change), answer) in accepted.filter_map(|(change, answer)| Some((change, answer?))) {
            let _ = answer.send(Ok(Applied { revision: change.revision, entry: Arc::clone(&change.entry) }));
        }
        for (answer, conflict) in plan.refused_by_group {
            let _ = answer.send(Err(ProposeError::Conflict(conflict)));
        }
        let is_durable = |shelf: usize| RESOURCES.get(shelf).is_some_and(|resource| !resource.volatile);
        self.pending.add(plan.changes.iter().filter(|(shelf, _)| is_durable(*shelf)));
    }

    /// Writes what is left, volatile objects too, and gives back the numbers that nobody had.
    fn close(mut self) {
        let volatile = RESOURCES.iter().zip(&self.objects).enumerate().filter(|(_, (resource, _))| resource.volatile);
        let objects = volatile.flat_map(|(shelf, (_, objects))| objects.iter().map(move |object| (shelf, object)));
        self.pending.add_last(objects, self.revision);
        self.pending.close();
        if self.checkpoint.join().is_err() {
            tracing::error!("the checkpoint's thread panicked; the log has everything");
        }
        if self.reserved > self.revision.0 {
            let settled = self.pending.settled();
            let revision = self.revision.0;
            if let Err(error) = self.log.append(&Append { group: &[], revision, reserved: revision, settled }) {
                tracing::warn!(%error, "the log could not be closed cleanly; revisions will skip ahead");
            }
        }
    }
}

/// The command and all that wait behind it, up to a group's size.
fn gather(first: Proposal, queue: &mut mpsc::Receiver<Proposal>) -> Vec<Proposal> {
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

fn refuse(plan: Plan, error: &Fault) {
    let reason: Arc<str> = error.to_string().into();
    tracing::warn!(%error, "a write could not be made durable");
    for answer in plan.accepted.into_iter().flatten().chain(plan.refused_by_group.into_iter().map(|(answer, _)| answer))
    {
        let _ = answer.send(Err(ProposeError::Disk(Arc::clone(&reason))));
    }
}
