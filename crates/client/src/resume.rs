//! Watches that go on after they break off: where they were, on whichever server answers.
//!
//! For those who show changes as they come and keep no picture, such as verbs that wait. Others have informers.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::Deserialize;
use wherry_api::kinds::ObjectMeta;
use wherry_api::{Error, Reason, Resource};
use wherry_base::Backoff;

use crate::transport::{RawEvent, RawWatch, Transport, WatchOptions};

/// How often a watch is opened anew before the error is told, and the first and the longest wait in between: longer than
/// masters take to agree on a leader.
const TRIES_MAX: usize = 8;
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A watch, its place, and how it is opened.
struct Resumed {
    transport: Arc<dyn Transport>,
    resource: &'static Resource,
    namespace: Option<String>,
    options: WatchOptions,
    events: Option<RawWatch>,
}

#[derive(Deserialize)]
struct Peek {
    metadata: ObjectMeta,
}

/// A watch that ends only by an error that no server can help with, such as a revision that has expired. It has bookmarks.
pub fn resumed(
    transport: Arc<dyn Transport>,
    resource: &'static Resource,
    namespace: Option<String>,
    options: WatchOptions,
) -> RawWatch {
    let options = WatchOptions { bookmarks: true, ..options };
    let watch = Resumed { transport, resource, namespace, options, events: None };
    let events = stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(event) => Some((Ok(event), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    });
    events.boxed()
}

impl Resumed {
    async fn next(&mut self) -> Result<RawEvent, Error> {
        loop {
            let mut events = match self.events.take() {
                Some(events) => events,
                None => self.open().await?,
            };
            match events.next().await {
                Some(Ok(event)) => {
                    self.events = Some(events);
                    let peek = serde_json::from_slice::<Peek>(&event.object).ok();
                    if let Some(revision) = peek.and_then(|peek| peek.metadata.resource_version) {
                        self.options.resource_version = revision;
                    }
                    return Ok(event);
                }
                Some(Err(error)) if error.reason != Reason::ServiceUnavailable => return Err(error),
                Some(Err(_)) | None => tokio::time::sleep(RETRY.0).await,
            }
        }
    }

    async fn open(&mut self) -> Result<RawWatch, Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut tries_left = TRIES_MAX;
        loop {
            tries_left -= 1;
            match self.transport.watch(self.resource, self.namespace.clone(), self.options.clone()).await {
                Err(error) if error.reason == Reason::ServiceUnavailable && tries_left > 0 => {
                    tokio::time::sleep(backoff.fail()).await;
                }
                opened => return opened,
            }
        }
    }
}
