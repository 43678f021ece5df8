//! Which watches a change wakes: all of its resource, but of those that look at a few objects only, whom it concerns.
//!
//! A thousand nodes that each watch their own pods cost nothing while other nodes' pods change. The same idea as the index
//! triggers of `k8s.io/apiserver/pkg/storage/cacher`, for any field that can be selected by.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::object::Entry;
use crate::read::Change;

/// What all objects that a watch shows have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Focus {
    /// In which place of theirs.
    pub on: Place,
    /// What stands there.
    pub value: Box<str>,
}

/// A place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Its name.
    Name,
    /// The selectable field of this number in the resource's row.
    Field(usize),
}

impl Focus {
    /// Whether an object that changed was, or is, one of these.
    pub(crate) fn concerns(&self, change: &Change) -> bool {
        self.on.values(change).any(|value| value == &*self.value)
    }
}

impl Place {
    /// What stands there now, and what did before.
    fn values(self, change: &Change) -> impl Iterator<Item = &str> {
        let entries = [Some(&change.entry), change.previous.as_ref()];
        entries.into_iter().flatten().filter_map(move |entry| self.value(change, entry))
    }

    fn value<'a>(self, change: &'a Change, entry: &'a Entry) -> Option<&'a str> {
        match self {
            Self::Name => Some(&change.key.name),
            Self::Field(number) => entry.index.fields.get(number).map(|value| &**value),
        }
    }
}

/// Those who wait for changes of one resource.
#[derive(Default)]
pub(crate) struct Waiting {
    all: watch::Sender<()>,
    focused: Mutex<Focused>,
}

/// By what they look at; a place or value is there as long as somebody looks at it.
type Focused = BTreeMap<Place, HashMap<Box<str>, watch::Sender<()>>>;

impl Waiting {
    /// Woken by changes that concern the focus (by all, where there is none), and when others have gone by for long.
    pub(crate) fn enter(&self, focus: Option<&Focus>) -> watch::Receiver<()> {
        let Some(focus) = focus else { return self.all.subscribe() };
        self.focused().entry(focus.on).or_default().entry(focus.value.clone()).or_default().subscribe()
    }

    /// The last one that looked at it is about to go.
    pub(crate) fn leave(&self, focus: &Focus) {
        let mut focused = self.focused();
        let Some(values) = focused.get_mut(&focus.on) else { return };
        if values.get(&focus.value).is_some_and(|waiting| waiting.receiver_count() <= 1) {
            values.remove(&focus.value);
        }
        if values.is_empty() {
            focused.remove(&focus.on);
        }
    }

    /// Something has changed.
    pub(crate) fn wake<'a>(&self, changes: impl Iterator<Item = &'a Change>) {
        self.all.send_replace(());
        let focused = self.focused();
        if focused.is_empty() {
            return;
        }
        for change in changes {
            for (place, values) in focused.iter() {
                place.values(change).filter_map(|value| values.get(value)).for_each(|waiting| {
                    waiting.send_replace(());
                });
            }
        }
    }

    /// Whatever they wait for.
    pub(crate) fn wake_all(&self) {
        self.all.send_replace(());
        self.focused().values().flat_map(HashMap::values).for_each(|waiting| {
            waiting.send_replace(());
        });
    }

    fn focused(&self) -> MutexGuard<'_, Focused> {
        self.focused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wherry_api::{ObjectKey, Revision};

    use super::*;
    use crate::object::Index;
    use crate::read::ChangeKind;

    #[test]
    fn a_change_wakes_whom_it_concerns() {
        let waiting = Waiting::default();
        let entry = |node: &str| {
            let index = Index { fields: [node.into()].into(), ..Index::default() };
            Arc::new(Entry { revision: Revision(1), json: bytes::Bytes::new(), index })
        };
        let woken_by = |name: &str, before: Option<&str>, after: &str| {
            let looks = [(Place::Name, "web"), (Place::Field(0), "n1"), (Place::Field(0), "n2")];
            let focuses = looks.map(|(on, value)| Some(Focus { on, value: value.into() }));
            let receivers = [None].into_iter().chain(focuses).map(|focus| waiting.enter(focus.as_ref()));
            let receivers: Vec<_> = receivers.collect();
            let change = Change {
                key: ObjectKey::new("ns", name),
                revision: Revision(1),
                kind: ChangeKind::Updated,
                entry: entry(after),
                previous: before.map(entry),
            };
            waiting.wake(std::iter::once(&change));
            receivers.iter().map(|receiver| receiver.has_changed().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(woken_by("a", None, "n3"), [true, false, false, false]);
        assert_eq!(woken_by("web", None, "n3"), [true, true, false, false]);
        assert_eq!(woken_by("a", None, "n1"), [true, false, true, false]);
        assert_eq!(woken_by("a", Some("n1"), "n2"), [true, false, true, true]);
    }

    #[test]
    fn what_nobody_looks_at_is_not_kept() {
        let waiting = Waiting::default();
        let focus = Focus { on: Place::Name, value: "web".into() };
        let (first, second) = (waiting.enter(Some(&focus)), waiting.enter(Some(&focus)));
        waiting.leave(&focus);
        drop(first);
        assert!(!waiting.focused().is_empty());
        waiting.leave(&focus);
        drop(second);
        assert!(waiting.focused().is_empty());
    }
}
