//! `get` and `list`: bytes out of a snapshot; a page costs a page.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wherry_api::selector::{FieldRequirement, Fields, Labels};
use wherry_api::{Cause, Error, ObjectKey, Reason, Resource, Revision};
use wherry_client::ListOptions;
use wherry_store::{Entry, Focus, Place, Snapshot, Unavailable};

use super::{Registry, Target};

/// How long a revision that is yet to come is waited for.
const REACH_TRIES: usize = 20;
const REACH_PAUSE: Duration = Duration::from_millis(5);

/// Some objects of a collection, in the order of their keys.
pub(crate) struct Page {
    pub(crate) entries: Vec<(ObjectKey, Arc<Entry>)>,
    pub(crate) revision: Revision,
    /// Empty on the last page.
    pub(crate) continue_token: String,
    /// How many are left behind this page; known only where nothing is selected.
    pub(crate) remaining: Option<usize>,
}

/// Which objects are meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    labels: Labels,
    fields: Fields,
}

/// Where the next page begins.
#[derive(Serialize, Deserialize)]
struct Continue {
    /// The revision of the first page: later ones show the same. 0 where that has expired and the client goes on with
    /// what is there now.
    #[serde(rename = "rv")]
    revision: u64,
    /// How many objects came before.
    #[serde(default)]
    seen: usize,
    after: ObjectKey,
}

impl Registry {
    /// One object, encoded.
    pub(crate) fn get(&self, target: &Target) -> Result<Bytes, Error> {
        self.entry(target).map(|entry| entry.json.clone()).ok_or_else(|| target.not_found())
    }

    /// A collection, or a page of it. All pages of a list show it as it stood at the first: the store undoes what was
    /// written since, as far as its history reaches.
    pub(crate) fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Page, Error> {
        let selection = Selection::parse(resource, &options.labels, &options.fields)?;
        let place = place(namespace, &options.continue_token)?;
        let snapshot = self.standing(resource, place.as_ref(), options.exactly)?;
        let (start, seen) = match place {
            Some(place) => (Bound::Excluded(place.after), place.seen),
            None => (Bound::Included(ObjectKey::new(namespace.unwrap_or_default(), "")), 0),
        };
        let within = |key: &ObjectKey| namespace.is_none_or(|namespace| *key.namespace == *namespace);
        let range = snapshot.objects.range((start, Bound::Unbounded)).take_while(|(key, _)| within(key));
        let mut chosen = range.filter(|(key, entry)| selection.accepts(resource, key, entry));
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let entries: Vec<_> =
            chosen.by_ref().take(limit).map(|(key, entry)| (key.clone(), Arc::clone(entry))).collect();
        let more = chosen.next().is_some();
        let seen = seen.saturating_add(entries.len());
        let is_counted = more && selection.is_everything() && namespace.is_none();
        let remaining = is_counted.then(|| snapshot.objects.len().saturating_sub(seen));
        let continue_token = match entries.last() {
            Some((after, _)) if more => encode(&Continue { revision: snapshot.revision.0, seen, after: after.clone() }),
            _ => String::new(),
        };
        Ok(Page { entries, revision: snapshot.revision, continue_token, remaining })
    }

    /// The objects as they stood when the list began, at the wanted revision, or now.
    fn standing(
        &self,
        resource: &'static Resource,
        place: Option<&Continue>,
        exactly: Option<Revision>,
    ) -> Result<Snapshot, Error> {
        let at = place.map(|place| Revision(place.revision)).or(exactly).filter(|at| at.0 > 0);
        let Some(at) = at else { return Ok(self.store().snapshot(resource)) };
        self.store().snapshot_at(resource, at).map_err(|_| match place {
            Some(place) => page_expired(place),
            None => Error::new(Reason::Expired, "The resourceVersion for the provided list is too old."),
        })
    }

    /// Waits until reads here are not older than a revision: the newest where none is named. An error where the revision
    /// is yet to come, which a client can only have from another cluster.
    pub(crate) async fn reach(&self, wanted: Option<Revision>) -> Result<(), Error> {
        if wanted.is_none_or(|wanted| wanted > self.store().revision()) && !self.store().is_alone() {
            // What another master has told may not be here yet.
            self.store().linearizable().await.map_err(|error| unavailable(&error))?;
        }
        self.await_revision(wanted.unwrap_or_default()).await
    }

    async fn await_revision(&self, wanted: Revision) -> Result<(), Error> {
        for _ in 0..REACH_TRIES {
            if wanted <= self.store().revision() {
                return Ok(());
            }
            // An object may be seen a moment before the store's revision is.
            tokio::time::sleep(REACH_PAUSE).await;
        }
        let present = self.store().revision();
        let message = format!("Too large resource version: {wanted}, current: {present}");
        let mut error = Error::new(Reason::Timeout, message);
        error.causes = vec![Cause {
            reason: "ResourceVersionTooLarge",
            field: String::new(),
            message: "Too large resource version".to_owned(),
        }];
        error.retry_after_seconds = Some(1);
        Err(error)
    }
}

/// What a list must not be older than: its own first page, or what is asked for.
pub(crate) fn oldest(options: &ListOptions, wanted: Option<Revision>) -> Option<Revision> {
    let first_page = place(None, &options.continue_token).ok().flatten();
    first_page.map(|first| Revision(first.revision)).or(options.exactly).or(wanted)
}

fn unavailable(error: &Unavailable) -> Error {
    let mut error = Error::new(Reason::ServiceUnavailable, error.to_string());
    error.retry_after_seconds = Some(1);
    error
}

/// The 410 of a page whose list has expired, with the way to read the rest.
fn page_expired(place: &Continue) -> Error {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                   list without the continue parameter, or use the continue token in this response to retrieve the \
                   remainder of the results. Continuing with the provided token results in an inconsistent list - \
                   objects that were created, modified, or deleted between the time the first chunk was returned and \
                   now may show up in the list.";
    let mut error = Error::new(Reason::Expired, message);
    error.continue_token = encode(&Continue { revision: 0, seen: place.seen, after: place.after.clone() });
    error
}

impl Selection {
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Error> {
        let bad = |sentence: String| Error::new(Reason::BadRequest, sentence);
        let labels = Labels::parse(labels).map_err(bad)?;
        let fields = Fields::parse(fields).map_err(bad)?;
        for requirement in &fields.0 {
            let path = requirement.path.as_str();
            if !matches!(path, "metadata.name" | "metadata.namespace") && !resource.selectable.contains(&path) {
                return Err(bad(format!("field label not supported: {path}")));
            }
        }
        Ok(Self { labels, fields })
    }

    /// What all that it accepts have in common, if it names such a thing.
    pub(super) fn focus(&self, resource: &Resource) -> Option<Focus> {
        let equal = self.fields.0.iter().filter(|requirement| requirement.equal);
        let focuses = equal.filter_map(|FieldRequirement { path, value, .. }| {
            let number = || resource.selectable.iter().position(|selectable| selectable == path);
            let on = if path == "metadata.name" { Place::Name } else { Place::Field(number()?) };
            Some(Focus { on, value: value.as_str().into() })
        });
        focuses.min_by_key(|focus| focus.on)
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn accepts(&self, resource: &Resource, key: &ObjectKey, entry: &Entry) -> bool {
        self.labels.matches_by(|label| entry.index.labels.get(label).map(|value| &**value))
            && self.fields.matches_by(|path| field(resource, key, entry, path))
    }
}

fn field<'a>(resource: &Resource, key: &'a ObjectKey, entry: &'a Entry, path: &str) -> Option<&'a str> {
    match path {
        "metadata.name" => Some(&key.name),
        "metadata.namespace" => Some(&key.namespace),
        _ => Some(entry.field(resource, path)),
    }
}

/// Where a token says that the list goes on.
fn place(namespace: Option<&str>, token: &str) -> Result<Option<Continue>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let place: Option<Continue> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let fits = |place: &Continue| namespace.is_none_or(|namespace| *place.after.namespace == *namespace);
    place.filter(fits).map(Some).ok_or_else(|| Error::new(Reason::BadRequest, "continue key is not valid"))
}

fn encode(place: &Continue) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}
