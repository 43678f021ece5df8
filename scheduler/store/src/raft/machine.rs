//! What the log's entries are applied to: the objects, the revision counter, and what is published of them.
//!
//! The leader's own groups take effect as they were planned; everyone else's are read from the entry, with the same
//! result. Volatile resources are in the memory of the leader in office only: they come and go with the office.

mod applying;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::EntryPayload;
use openraft::storage::Snapshot;
use tokio::sync::watch;
use wherry_api::{RESOURCES, Revision};

use super::{Entry, Group, LeaderId, LogId, Outcome, Position, SnapshotMeta, StoredMembership};
use crate::checkpoint::Pending;
use crate::disk::record::{self, Record};
use crate::member::{Member, NotLeader, Role};
use crate::memory::{Keep, Memory, Objects, Shelved};
use crate::object::Interner;
use crate::plan::{self, Plan, Proposal};
use crate::read::{Change, ChangeKind};

/// How many revisions are reserved at once: volatile changes need an fsync only when these are used up.
const RESERVED_REVISIONS: u64 = 16_384;

/// The applied state; clones share it.
#[derive(Clone)]
pub(crate) struct Machine {
    me: u64,
    memory: Arc<Memory>,
    pending: Arc<Pending>,
    state: Arc<Mutex<State>>,
    /// Those of the log's end, which may not be applied yet: whoever is not alone any more must not take itself for it.
    members: Arc<watch::Sender<Vec<(Member, Role)>>>,
}

struct State {
    objects: Vec<Objects>,
    /// The last revision that was used, if only for a write that failed.
    revision: Revision,
    position: Position,
    keep: Keep,
    interner: Interner,
    /// While this member leads: since which election, all earlier entries being applied.
    office: Option<LeaderId>,
    /// What was planned and is on its way through the log.
    in_flight: Option<Plan>,
}

/// All durable objects at one position of the log. Making one copies nothing.
#[derive(Clone)]
pub(crate) struct Frozen {
    pub(crate) objects: Vec<Objects>,
    pub(crate) revision: u64,
    pub(crate) reserved: u64,
}

/// What is to be done with a plan.
pub(crate) enum Step {
    /// It must go through the log first.
    Log(Group, LeaderId),
    /// Nothing of it is durable.
    Show(Plan, Ground),
    /// Another member leads.
    Elsewhere(Vec<Proposal>),
}

/// What a plan was made on.
pub(crate) struct Ground {
    office: LeaderId,
    after: u64,
}

impl Machine {
    pub(crate) fn new(me: u64, objects: Vec<Objects>, position: Position, keep: Keep, pending: Arc<Pending>) -> Self {
        let revision = Revision(position.revision.max(position.reserved));
        let memory = Arc::new(Memory::new(objects.clone(), Revision(position.revision)));
        let interner = Interner::default();
        let members = Arc::new(watch::Sender::new(position.members()));
        let state = State { objects, revision, position, keep, interner, office: None, in_flight: None };
        let machine = Self { me, memory, pending, state: Arc::new(Mutex::new(state)), members };
        machine.leave_office();
        machine
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// How far this member has come.
    pub(crate) fn position(&self) -> Position {
        self.lock().position.clone()
    }

    /// All members, by id.
    pub(crate) fn members(&self) -> watch::Receiver<Vec<(Member, Role)>> {
        self.members.subscribe()
    }

    /// From now on these are the members.
    pub(crate) fn show_members(&self, now: Vec<(Member, Role)>) {
        self.members.send_if_modified(|was| {
            let is_news = *was != now;
            *was = now;
            is_news
        });
    }

    /// Whether this member is the only voter.
    pub(crate) fn is_alone(&self) -> bool {
        let members = self.members.borrow();
        let mut voters = members.iter().filter(|(_, role)| *role == Role::Voter);
        voters.next().is_some_and(|(member, _)| member.id == self.me) && voters.next().is_none()
    }

    /// Since which election this member leads.
    pub(crate) fn office(&self) -> Option<LeaderId> {
        self.lock().office
    }

    /// All durable objects as they stand, and how far they have come.
    pub(crate) fn freeze(&self) -> (Position, Frozen) {
        let state = self.lock();
        let objects = state.objects.iter().enumerate();
        let objects = objects.map(|(place, shelf)| if is_volatile(place) { Objects::new() } else { shelf.clone() });
        let Position { revision, reserved, .. } = state.position;
        (state.position.clone(), Frozen { objects: objects.collect(), revision, reserved })
    }

    fn snapshot(&self) -> Snapshot<LeaderId, u64, Member, Frozen> {
        let (Position { log_id, membership, .. }, snapshot) = self.freeze();
        Snapshot { meta: SnapshotMeta { last_log_id: log_id, last_membership: membership }, snapshot }
    }

    /// Decides a group of commands against the present state.
    pub(crate) fn plan(&self, proposals: Vec<Proposal>) -> Step {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(office) = state.office else { return Step::Elsewhere(proposals) };
        let mut plan = plan::plan(&state.objects, state.revision, proposals, &mut state.interner);
        // Numbers of a failed group stay unused: what became of it on the disks is not known.
        state.revision = plan.revision;
        if plan.group.is_empty() && plan.revision.0 <= state.position.reserved {
            return Step::Show(plan, Ground { office, after: state.position.revision });
        }
        let left = state.position.reserved.saturating_sub(plan.revision.0);
        let is_low = left < RESERVED_REVISIONS / 2;
        let reserved = if is_low { plan.revision.0 + RESERVED_REVISIONS } else { state.position.reserved };
        let group = Group {
            after: state.position.revision,
            revision: plan.revision.0,
            reserved,
            records: std::mem::take(&mut plan.group).into(),
        };
        state.in_flight = Some(plan);
        Step::Log(group, office)
    }

    /// The plan that was on its way, where it did not take effect as planned.
    pub(crate) fn take_back(&self) -> Option<Plan> {
        self.lock().in_flight.take()
    }

    /// Carries out a plan of which nothing is durable, if it still stands on its ground.
    pub(crate) fn show(&self, plan: Plan, ground: &Ground) {
        let mut state = self.lock();
        if state.office != Some(ground.office) || state.position.revision != ground.after {
            return plan.refuse(&NotLeader { leader: None }.into());
        }
        state.objects.clone_from(&plan.objects);
        self.publish(&mut state, &plan.changes, plan.revision);
        drop(state);
        plan.accept();
    }

    /// The entry that gives back the numbers that nobody had; none where others could have had some.
    pub(crate) fn farewell(&self) -> Option<(Group, LeaderId)> {
        let state = self.lock();
        let office = state.office.filter(|_| state.position.is_alone(self.me))?;
        let revision = state.revision.0;
        let group = Group { after: state.position.revision, revision, reserved: revision, records: Default::default() };
        (state.position.reserved > revision).then_some((group, office))
    }

    /// Leaves the volatile objects to the next life of a member that is alone.
    pub(crate) fn bequeath(&self) {
        let state = self.lock();
        if state.position.is_alone(self.me) && state.position.reserved == state.revision.0 {
            let volatile = state.objects.iter().enumerate().filter(|(place, _)| is_volatile(*place));
            self.pending.add_last(volatile.flat_map(|(place, shelf)| shelf.iter().map(move |object| (place, object))));
        }
    }

    /// This member was elected and has applied whatever was decided before. It begins above all numbers that others may
    /// have handed out, and with no volatile objects unless it is alone and so has been all the time.
    pub(crate) fn take_office(&self, office: LeaderId) {
        let mut state = self.lock();
        state.revision.0 = state.revision.0.max(state.position.reserved);
        let revision = state.revision;
        if !state.position.is_alone(self.me) {
            state.clear_volatile();
        }
        // Whoever saw changes that were lost with an earlier office, or life, must list again.
        if revision > self.memory.revision() || !state.position.is_alone(self.me) {
            state.keep.forget(is_volatile);
            self.memory.replace(is_volatile, &state.objects, revision, revision);
        }
        state.office = Some(office);
    }

    /// This member does not lead, or not any more.
    pub(crate) fn leave_office(&self) {
        let mut state = self.lock();
        state.office = None;
        if !state.position.is_alone(self.me) {
            state.clear_volatile();
            self.memory.replace(is_volatile, &[], Revision(0), Revision(u64::MAX));
        }
    }

    fn apply(&self, entry: Entry) -> io::Result<Outcome> {
        let mut state = self.lock();
        let state = &mut *state;
        state.position.log_id = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Outcome::Applied),
            EntryPayload::Membership(members) => {
                state.position.membership = StoredMembership::new(Some(entry.log_id), members);
                self.pending.add(std::iter::empty(), &state.position);
                Ok(Outcome::Applied)
            }
            EntryPayload::Normal(group) if group.after != state.position.revision => Ok(Outcome::Refused),
            EntryPayload::Normal(group) => {
                self.apply_group(state, entry.log_id, &group)?;
                Ok(Outcome::Applied)
            }
        }
    }

    fn apply_group(&self, state: &mut State, log_id: LogId, group: &Group) -> io::Result<()> {
        let is_own = state.office.as_ref() == Some(log_id.committed_leader_id());
        let planned = state.in_flight.take_if(|plan| is_own && plan.revision.0 == group.revision);
        let changes = match &planned {
            Some(plan) => {
                state.objects.clone_from(&plan.objects);
                plan.changes.clone()
            }
            None => state.settle(group)?,
        };
        state.position.revision = group.revision;
        state.position.reserved = group.reserved;
        self.publish(state, &changes, Revision(group.revision));
        let durable = changes.iter().filter(|(place, _)| !is_volatile(*place));
        self.pending.add(durable, &state.position);
        if let Some(plan) = planned {
            plan.accept();
        }
        Ok(())
    }

    fn publish(&self, state: &mut State, changes: &[Shelved], revision: Revision) {
        state.revision = state.revision.max(revision);
        self.memory.publish(changes, &state.objects, revision, &mut state.keep);
    }

    fn install(&self, frozen: Frozen, position: Position) {
        let mut state = self.lock();
        state.revision = state.revision.max(Revision(position.revision));
        let revision = Revision(position.revision);
        state.objects = frozen.objects;
        state.position = position;
        state.keep.forget(is_durable);
        self.memory.replace(is_durable, &state.objects, revision, revision);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads a group's changes and makes them.
    fn settle(&mut self, group: &Group) -> io::Result<Vec<Shelved>> {
        let records = record::read(&group.records).ok_or_else(|| io::Error::other("a group of the log is damaged"))?;
        records.into_iter().map(|record| self.settle_one(record)).collect()
    }

    fn settle_one(&mut self, record: Record) -> io::Result<Shelved> {
        let known = record.shelf.filter(|place| *place < self.objects.len());
        let unknown = || io::Error::other("the log has a resource that this release does not know; use the newer one");
        let place = known.ok_or_else(unknown)?;
        let Record { key, revision, .. } = record.clone();
        let before = |state: &Self| state.objects.get(place).and_then(|shelf| shelf.get(&key).cloned());
        let previous = before(self);
        record.settle(&mut self.objects, &mut self.interner);
        let (kind, entry) = match (before(self), &previous) {
            (Some(entry), None) => (ChangeKind::Created, entry),
            (Some(entry), Some(_)) => (ChangeKind::Updated, entry),
            (None, Some(last)) => (ChangeKind::Deleted, Arc::new(last.restamped(revision))),
            (None, None) => return Err(io::Error::other("the log removes what is not there")),
        };
        Ok((place, Arc::new(Change { key, revision, kind, entry, previous })))
    }

    fn clear_volatile(&mut self) {
        for (place, shelf) in self.objects.iter_mut().enumerate() {
            if is_volatile(place) {
                *shelf = Objects::new();
            }
        }
        self.keep.forget(is_volatile);
    }
}

/// Whether a shelf's resource is in the leader's memory only.
pub(crate) fn is_volatile(place: usize) -> bool {
    RESOURCES.get(place).is_some_and(|resource| resource.volatile)
}

fn is_durable(place: usize) -> bool {
    !is_volatile(place)
}
