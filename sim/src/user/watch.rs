//! Watches all keys: goes on where a watch broke, and lists again where that is too long ago.

use std::time::Duration;

use futures::StreamExt;
use wherry_api::kinds::ConfigMap;
use wherry_api::{Error, Reason};
use wherry_client::{Api, Event, WatchOptions};

use super::Person;
use super::keys::{NAMESPACE, is_key, revision, value};
use crate::history::{Answer, Ask, Revision, Seen};
use crate::net::up_to;

const REST_MOST: Duration = Duration::from_millis(500);

/// After so long it opens another watch, though the present one is well.
const OPEN_MOST: Duration = Duration::from_secs(20);

/// Never ends.
pub async fn watch(person: Person) {
    let api = person.client.namespaced::<ConfigMap>(NAMESPACE);
    let mut from = None;
    loop {
        match from {
            None => {
                // To watch from revision 0 means from anywhere.
                if let Answer::Listed(revision @ 1.., _) = person.ask(&api, Ask::List).await {
                    from = Some(revision);
                }
            }
            Some(revision) => from = person.follow(&api, revision).await,
        }
        tokio::time::sleep(up_to(&person.rng, REST_MOST)).await;
    }
}

impl Person {
    /// Follows the changes after a revision until the watch breaks; where to go on.
    async fn follow(&self, api: &Api<ConfigMap>, from: Revision) -> Option<Revision> {
        let options = WatchOptions { resource_version: from.to_string(), bookmarks: true, ..WatchOptions::default() };
        let mut events = match api.watch(options).await {
            Ok(events) => events,
            Err(error) => return (error.reason != Reason::Expired).then_some(from),
        };
        let stream = self.recorder.opened(self.number, self.port.times.now(), from);
        let mut newest = from;
        let ends = up_to(&self.rng, OPEN_MOST);
        let followed = tokio::time::timeout(ends, async {
            while let Some(event) = events.next().await {
                if let Some((revision, seen)) = seen(event?) {
                    self.recorder.saw(&stream, seen);
                    newest = revision;
                }
            }
            Ok::<_, Error>(())
        });
        let outcome = followed.await;
        self.recorder.closed(&stream);
        let has_expired = matches!(outcome, Ok(Err(error)) if error.reason == Reason::Expired);
        (!has_expired).then_some(newest)
    }
}

/// What an event shows of the keys, and its revision.
fn seen(event: Event<ConfigMap>) -> Option<(Revision, Seen)> {
    let change = |map: &ConfigMap, value: Option<String>| {
        let (revision, key) = (revision(&map.metadata), map.metadata.name.clone()?);
        is_key(&key).then_some((revision, Seen::Change { revision, key, value }))
    };
    match event {
        Event::Applied(map) => change(&map, Some(value(&map))),
        Event::Deleted(map) => change(&map, None),
        Event::Bookmark(text) => {
            let revision = text.parse().ok()?;
            Some((revision, Seen::Bookmark(revision)))
        }
    }
}
