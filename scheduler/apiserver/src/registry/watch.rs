//! `watch`: the store's changes as a selector sees them, with bookmarks.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use serde_json::json;
use wherry_api::{Error, Reason, Resource, Revision};
use wherry_client::{EventKind, ListOptions, RawEvent, WatchOptions};
use wherry_store::{Change, ChangeKind, Expired, Watch};

use super::Registry;
use super::modify::revision;
use super::read::Selection;

/// The events of a watch; ends after an error.
pub(crate) type Frames = BoxStream<'static, Result<RawEvent, Error>>;

/// How many changes are taken from the history at once.
const CHANGES_TOGETHER_MAX: usize = 256;
/// How often a watch without changes says where it stands.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// A watch: what is shown of the store's changes, and how far it has come.
pub(crate) struct View {
    resource: &'static Resource,
    namespace: Option<String>,
    selection: Selection,
    bookmarks: bool,
    changes: Watch,
    ready: VecDeque<RawEvent>,
    /// Where the last bookmark stood.
    told: Revision,
}

impl Registry {
    /// Opens a watch. Whether the present objects come first says `initial` (`sendInitialEvents`); where that says
    /// nothing, they do unless there is a revision to go on from.
    pub(crate) fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &WatchOptions,
        initial: Option<bool>,
    ) -> Result<View, Error> {
        let selection = Selection::parse(resource, &options.labels, &options.fields)?;
        let from = revision(&options.resource_version)?.filter(|from| from.0 > 0);
        let (ready, from) = match (from, initial) {
            (Some(from), None | Some(false)) => (VecDeque::new(), from),
            (None, Some(false)) => (VecDeque::new(), self.store().snapshot(resource).revision),
            _ => self.present(resource, namespace, options, initial == Some(true) && options.bookmarks)?,
        };
        let focus = selection.focus(resource);
        let changes = self.store().watch_focused(resource, from, focus).map_err(|e| expired(&e))?;
        let namespace = namespace.map(str::to_owned);
        Ok(View { resource, namespace, selection, bookmarks: options.bookmarks, changes, ready, told: from })
    }

    /// The present objects as ADDED events, and the revision at which they stood so.
    fn present(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &WatchOptions,
        mark_end: bool,
    ) -> Result<(VecDeque<RawEvent>, Revision), Error> {
        let (labels, fields) = (options.labels.clone(), options.fields.clone());
        let page = self.list(resource, namespace, &ListOptions { labels, fields, ..ListOptions::default() })?;
        let added = |entry: &wherry_store::Entry| RawEvent { kind: EventKind::Added, object: entry.json.clone() };
        let mut events: VecDeque<RawEvent> = page.entries.iter().map(|(_, entry)| added(entry)).collect();
        if mark_end {
            events.push_back(bookmark(resource, page.revision, true));
        }
        Ok((events, page.revision))
    }
}

impl View {
    /// The events one by one; ends after an error.
    pub(crate) fn stream(self) -> Frames {
        let events = stream::unfold(Some(self), |view| async move {
            let mut view = view?;
            match view.next().await {
                Ok(event) => Some((Ok(event), Some(view))),
                Err(error) => Some((Err(error), None)),
            }
        });
        events.boxed()
    }

    /// The next event. Cancelling it loses nothing; after an error there is no other.
    pub(crate) async fn next(&mut self) -> Result<RawEvent, Error> {
        loop {
            if let Some(event) = self.next_ready() {
                return Ok(event);
            }
            match tokio::time::timeout(BOOKMARK_EVERY, self.changes.next(CHANGES_TOGETHER_MAX)).await {
                Ok(changes) => {
                    let changes = changes.map_err(|e| expired(&e))?;
                    self.ready = changes.iter().filter_map(|change| self.see(change)).collect();
                }
                Err(_) => {
                    let bookmark = self.farewell();
                    self.ready.extend(bookmark);
                }
            }
        }
    }

    /// The next event, if it is known already.
    pub(crate) fn next_ready(&mut self) -> Option<RawEvent> {
        self.ready.pop_front()
    }

    /// Where the watch stands, for who asked for bookmarks and was not told yet.
    pub(crate) fn farewell(&mut self) -> Option<RawEvent> {
        let position = self.changes.position();
        let is_news = self.bookmarks && self.ready.is_empty() && position > self.told;
        is_news.then(|| {
            self.told = position;
            bookmark(self.resource, position, false)
        })
    }

    /// What a change looks like through the selector: an object may enter or leave the view by changing.
    fn see(&self, change: &Change) -> Option<RawEvent> {
        if self.namespace.as_ref().is_some_and(|namespace| **namespace != *change.key.namespace) {
            return None;
        }
        let accepts = |entry: &wherry_store::Entry| self.selection.accepts(self.resource, &change.key, entry);
        let before = change.previous.as_ref().is_some_and(|entry| accepts(entry));
        let after = change.kind != ChangeKind::Deleted && accepts(&change.entry);
        let kind = match (before, after) {
            (false, false) => return None,
            (false, true) => EventKind::Added,
            (true, true) => EventKind::Modified,
            (true, false) => EventKind::Deleted,
        };
        Some(RawEvent { kind, object: change.entry.json.clone() })
    }
}

fn bookmark(resource: &Resource, revision: Revision, initial_end: bool) -> RawEvent {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_end && let Some(map) = metadata.as_object_mut() {
        map.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
    }
    let object = json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
    RawEvent { kind: EventKind::Bookmark, object: Bytes::from(object.to_string()) }
}

fn expired(error: &Expired) -> Error {
    Error::new(Reason::Expired, error.to_string())
}
