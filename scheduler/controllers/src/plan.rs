//! What a controller may want: a plan is data, and the driver carries it out.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::kinds::{Kind, ObjectMeta};
use wherry_api::{ObjectKey, Resource};
use wherry_client::{DeleteOptions, Precondition};

/// What is to be done for a key, in this order, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Runs of creations, and of deletions, are carried out side by side.
    pub(crate) actions: Vec<Action>,
    /// Look again after this, though nothing changes.
    pub(crate) requeue_after: Option<Duration>,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Creates an object in its namespace; `told_of` hears of it in an event.
    Create { resource: &'static Resource, object: Value, told_of: Option<Subject> },
    /// Merges a patch into an object, or into a subresource.
    Merge { resource: &'static Resource, key: ObjectKey, subresource: &'static str, patch: Value },
    /// Merges conditions into an object's status, each by its type.
    Conditions { resource: &'static Resource, key: ObjectKey, patch: Value },
    /// Replaces a subresource.
    Replace { resource: &'static Resource, key: ObjectKey, subresource: &'static str, object: Value },
    /// Deletes this very object; `told_of` hears of it in an event.
    Delete { resource: &'static Resource, key: ObjectKey, options: DeleteOptions, told_of: Option<Subject> },
    /// Deletes this very object if all of these owners are gone, which is asked of the API itself.
    Collect { resource: &'static Resource, key: ObjectKey, options: DeleteOptions, owners: Vec<Item> },
    /// Deletes all objects of a kind in a namespace.
    DeleteAll { resource: &'static Resource, namespace: Box<str> },
    /// Remembers when something was first seen, or, with `None`, forgets it.
    Note { about: ObjectKey, note: Option<Note> },
    /// Tells people.
    Tell(Told),
}

/// An object of any kind, this very one.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) resource: &'static Resource,
    pub(crate) key: ObjectKey,
    pub(crate) uid: Box<str>,
}

impl Item {
    fn identity(&self) -> (&str, &str, &ObjectKey, &str) {
        (self.resource.group, self.resource.plural, &self.key, &self.uid)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl std::hash::Hash for Item {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.resource.plural, self.key)
    }
}

/// Since when something is as it is: for what has no time of its own that could be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// What was seen.
    pub(crate) what: String,
    /// When it was seen first.
    pub(crate) since: Timestamp,
}

impl PartialEq for Action {
    /// Actions are compared by tests alone.
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) resource: SubjectKind,
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
}

/// The kind that an event is about, as the event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubjectKind {
    pub(crate) api_version: String,
    pub(crate) kind: &'static str,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) about: Subject,
    pub(crate) is_warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Subject {
    /// An object as the subject of events.
    pub(crate) fn of<K: Kind>(key: &ObjectKey, meta: &ObjectMeta) -> Self {
        let resource = K::resource();
        let uid = meta.uid.clone().unwrap_or_default();
        Self {
            resource: SubjectKind { api_version: resource.api_version(), kind: resource.kind },
            key: key.clone(),
            uid,
        }
    }

    /// An event about it.
    pub(crate) fn told(&self, is_warning: bool, reason: &'static str, message: String) -> Action {
        Action::Tell(Told { about: self.clone(), is_warning, reason, message })
    }
}

impl Plan {
    /// Wants nothing.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Creates an object.
    pub(crate) fn create<K: Kind>(&mut self, object: Value, told_of: Option<Subject>) {
        self.actions.push(Action::Create { resource: K::resource(), object, told_of });
    }

    /// Merges a patch.
    pub(crate) fn merge<K: Kind>(&mut self, key: &ObjectKey, patch: Value) {
        self.actions.push(Action::Merge { resource: K::resource(), key: key.clone(), subresource: "", patch });
    }

    /// Merges a status into the object at the version that was looked at.
    pub(crate) fn status<K: Kind>(&mut self, key: &ObjectKey, meta: &ObjectMeta, status: Value) {
        let patch = json!({"metadata": {"resourceVersion": meta.resource_version}, "status": status});
        self.actions.push(Action::Merge { resource: K::resource(), key: key.clone(), subresource: "status", patch });
    }

    /// Deletes the object that was looked at, and none that has come in its place.
    pub(crate) fn delete<K: Kind>(&mut self, key: &ObjectKey, meta: &ObjectMeta, told_of: Option<Subject>) {
        let uid = meta.uid.clone().unwrap_or_default();
        let precondition = Precondition { uid, resource_version: String::new() };
        let options = DeleteOptions { precondition, ..DeleteOptions::default() };
        self.actions.push(Action::Delete { resource: K::resource(), key: key.clone(), options, told_of });
    }

    /// Sets conditions of the object that was looked at.
    pub(crate) fn conditions<K: Kind>(&mut self, key: &ObjectKey, meta: &ObjectMeta, conditions: &Value) {
        let patch = json!({"metadata": {"uid": meta.uid}, "status": {"conditions": conditions}});
        self.actions.push(Action::Conditions { resource: K::resource(), key: key.clone(), patch });
    }

    /// Remembers that something was seen at this moment.
    pub(crate) fn note(&mut self, about: &ObjectKey, what: &str, since: Timestamp) {
        self.actions.push(Action::Note { about: about.clone(), note: Some(Note { what: what.to_owned(), since }) });
    }

    /// Forgets what was noted.
    pub(crate) fn forget(&mut self, about: &ObjectKey) {
        self.actions.push(Action::Note { about: about.clone(), note: None });
    }

    /// Deletes the object that was looked at for good, without waiting for a node to end it.
    pub(crate) fn delete_at_once<K: Kind>(&mut self, key: &ObjectKey, meta: &ObjectMeta) {
        let precondition = Precondition { uid: meta.uid.clone().unwrap_or_default(), resource_version: String::new() };
        let options = DeleteOptions { precondition, grace_period_seconds: Some(0), ..DeleteOptions::default() };
        self.actions.push(Action::Delete { resource: K::resource(), key: key.clone(), options, told_of: None });
    }

    /// Looks again after `wait`, or sooner if that was wanted before.
    pub(crate) fn look_again(&mut self, wait: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(wait, |before| before.min(wait)));
    }
}
