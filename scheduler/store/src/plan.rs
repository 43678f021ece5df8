//! Decides a group of commands against the objects as they stand: which take effect, as which change, and what is
//! answered to the others. Pure: nothing is written and nobody answered here.

use std::sync::Arc;

use tokio::sync::oneshot;
use wherry_api::{ObjectKey, RESOURCES, Resource, Revision};

use crate::command::{Applied, Command, Conflict, Expect, ProposeError};
use crate::disk::record;
use crate::memory::{Objects, Shelved};
use crate::object::{Encoded, Entry, Index, Interner};
use crate::read::{Change, ChangeKind};

/// What part of a bounded resource goes at once when it is full.
const MADE_ROOM_FRACTION: usize = 16;

/// How a proposer hears what became of its command.
pub(crate) type Answer = oneshot::Sender<Result<Applied, ProposeError>>;

/// A command on its way to the writer.
pub(crate) struct Proposal {
    pub(crate) shelf: usize,
    pub(crate) key: ObjectKey,
    pub(crate) expect: Expect,
    /// The object with its index; none for a deletion.
    pub(crate) object: Option<(Encoded, Index)>,
    pub(crate) answer: Answer,
}

impl Proposal {
    /// Reads the object's index here, on the proposer's time.
    pub(crate) fn new(shelf: usize, command: Command, answer: Answer) -> Self {
        match command {
            Command::Put { resource, key, expect, object } => {
                let index = object.index(resource);
                Self { shelf, key, expect, object: Some((object, index)), answer }
            }
            Command::Delete { key, expect, .. } => Self { shelf, key, expect, object: None, answer },
        }
    }

    /// How much JSON it brings.
    pub(crate) fn bytes(&self) -> usize {
        self.object.as_ref().map_or(0, |(object, _)| object.bytes())
    }
}

/// What a group of commands comes to.
pub(crate) struct Plan {
    /// The objects afterwards.
    pub(crate) objects: Vec<Objects>,
    /// What changes, in order.
    pub(crate) changes: Vec<Shelved>,
    /// Who waits for each change; nobody for what a bound pushes out.
    pub(crate) accepted: Vec<Option<Answer>>,
    /// Who asked for what conflicts with the state, or with changes of the same group: that is true only once the plan
    /// has taken effect, which shows that the state was the newest.
    pub(crate) refused: Vec<(Answer, Conflict)>,
    /// The durable changes, as the log has them.
    pub(crate) group: Vec<u8>,
    /// The revision of the last change.
    pub(crate) revision: Revision,
}

/// Decides commands in order, each seeing the effects of those before it.
pub(crate) fn plan(base: &[Objects], revision: Revision, proposals: Vec<Proposal>, interner: &mut Interner) -> Plan {
    let mut plan = Plan {
        objects: base.to_vec(),
        changes: Vec::with_capacity(proposals.len()),
        accepted: Vec::with_capacity(proposals.len()),
        refused: Vec::new(),
        group: Vec::new(),
        revision,
    };
    for mut proposal in proposals {
        if let Some((_, index)) = &mut proposal.object {
            interner.share(index);
        }
        plan.decide(proposal);
    }
    plan
}

impl Plan {
    /// Answers everyone: the plan took effect.
    pub(crate) fn accept(self) {
        let accepted = self.changes.iter().zip(self.accepted);
        for ((_, change), answer) in accepted.filter_map(|(change, answer)| Some((change, answer?))) {
            let _ = answer.send(Ok(Applied { revision: change.revision, entry: Arc::clone(&change.entry) }));
        }
        for (answer, conflict) in self.refused {
            let _ = answer.send(Err(ProposeError::Conflict(conflict)));
        }
    }

    /// Answers everyone: the plan took no effect, or it is not known whether it did.
    pub(crate) fn refuse(self, error: &ProposeError) {
        let refused = self.refused.into_iter().map(|(answer, _)| answer);
        for answer in self.accepted.into_iter().flatten().chain(refused) {
            let _ = answer.send(Err(error.clone()));
        }
    }

    fn decide(&mut self, proposal: Proposal) {
        let Proposal { shelf, key, expect, object, answer } = proposal;
        let (Some(objects), Some(resource)) = (self.objects.get(shelf), RESOURCES.get(shelf)) else { return };
        let present = objects.get(&key).cloned();
        if let Some(conflict) = conflict(present.as_ref(), expect, object.is_some()) {
            self.refused.push((answer, conflict));
            return;
        }
        self.take(shelf, resource, key, object, present, Some(answer));
        self.make_room(shelf, resource);
    }

    fn take(
        &mut self,
        shelf: usize,
        resource: &Resource,
        key: ObjectKey,
        object: Option<(Encoded, Index)>,
        present: Option<Arc<Entry>>,
        answer: Option<Answer>,
    ) {
        self.revision.0 += 1;
        let change = change(key, self.revision, object, present);
        if let Some(objects) = self.objects.get_mut(shelf) {
            match change.kind {
                ChangeKind::Deleted => objects.remove(&change.key),
                _ => objects.insert(change.key.clone(), Arc::clone(&change.entry)),
            };
        }
        self.log(resource, &change);
        self.changes.push((shelf, Arc::new(change)));
        self.accepted.push(answer);
    }

    /// Removes the oldest objects of a resource that has more than it may keep: several at once, so that looking for
    /// them costs each new object little.
    fn make_room(&mut self, shelf: usize, resource: &Resource) {
        let Some(objects) = self.objects.get(shelf).filter(|objects| objects.len() > resource.objects_max) else {
            return;
        };
        let excess = objects.len() - resource.objects_max + resource.objects_max / MADE_ROOM_FRACTION;
        let mut by_age: Vec<_> = objects.iter().map(|(key, entry)| (entry.revision, key, entry)).collect();
        by_age.sort_unstable_by_key(|(revision, ..)| *revision);
        let oldest: Vec<_> =
            by_age.into_iter().take(excess).map(|(_, key, entry)| (key.clone(), Arc::clone(entry))).collect();
        for (key, entry) in oldest {
            self.take(shelf, resource, key, None, Some(entry), None);
        }
    }

    fn log(&mut self, resource: &Resource, change: &Change) {
        if !resource.volatile {
            let kept = (change.kind != ChangeKind::Deleted).then_some(&*change.entry);
            record::write(&mut self.group, resource, &change.key, change.revision, kept);
        }
    }
}

/// What stands in a command's way, if anything.
fn conflict(present: Option<&Arc<Entry>>, expect: Expect, is_put: bool) -> Option<Conflict> {
    match (present, expect) {
        (None, Expect::Absent) if is_put => None,
        (Some(entry), Expect::Revision(revision)) if entry.revision == revision => None,
        (Some(entry), _) => Some(Conflict::Exists(Arc::clone(entry))),
        (None, _) => Some(Conflict::Missing),
    }
}

/// The change that an accepted command makes.
fn change(
    key: ObjectKey,
    revision: Revision,
    object: Option<(Encoded, Index)>,
    previous: Option<Arc<Entry>>,
) -> Change {
    let (kind, entry) = match (object, &previous) {
        (Some((encoded, index)), _) => {
            let kind = if previous.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
            (kind, Entry { revision, json: encoded.at(revision), index })
        }
        (None, Some(last)) => (ChangeKind::Deleted, last.restamped(revision)),
        (None, None) => (ChangeKind::Deleted, Entry { revision, json: bytes::Bytes::new(), index: Index::default() }),
    };
    Change { key, revision, kind, entry: Arc::new(entry), previous }
}
