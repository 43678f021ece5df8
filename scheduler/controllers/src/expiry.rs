//! Events are kept for an hour and go then, in batches. One task; between two sweeps it sleeps until the oldest is due.
//!
//! Kubernetes lets its store forget them; this one has no times of expiry, so they are deleted like any object.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use wherry_api::kinds::Event;
use wherry_api::{Error, Kind, ObjectKey, Reason};
use wherry_base::Clock;
use wherry_client::{Client, DeleteOptions, ListOptions};

/// How long an event is kept after it was last seen.
const KEPT: Duration = Duration::from_secs(3600);
/// The least time between two sweeps: what is due meanwhile goes together.
const SWEEP_LEAST: Duration = Duration::from_secs(300);
const PAGE_EVENTS_MAX: usize = 500;
const DELETED_TOGETHER_MAX: usize = 16;

/// Sweeps for ever.
pub(crate) async fn run(client: Client, clock: Arc<dyn Clock>) {
    loop {
        let wait = match sweep(&client, clock.now()).await {
            Ok(oldest) => oldest.map_or(KEPT, |age| KEPT.saturating_sub(age)),
            Err(error) => {
                tracing::debug!(%error, "old events stay for now");
                SWEEP_LEAST
            }
        };
        tokio::time::sleep(wait.max(SWEEP_LEAST)).await;
    }
}

/// Deletes the events that are too old; the age of the oldest that stays.
pub(crate) async fn sweep(client: &Client, now: Timestamp) -> Result<Option<Duration>, Error> {
    let mut page = ListOptions { limit: PAGE_EVENTS_MAX, ..ListOptions::default() };
    let mut oldest = None;
    loop {
        let list = client.all::<Event>().list(page.clone()).await?;
        let (old, kept): (Vec<_>, Vec<_>) =
            list.items.iter().map(|event| (event.key(), age(event, now))).partition(|(_, age)| *age >= KEPT);
        oldest = oldest.max(kept.into_iter().map(|(_, age)| age).max());
        delete(client, old.into_iter().map(|(key, _)| key)).await?;
        if list.continue_token.is_empty() {
            return Ok(oldest);
        }
        page.continue_token = list.continue_token;
    }
}

async fn delete(client: &Client, events: impl Iterator<Item = ObjectKey>) -> Result<(), Error> {
    let deletions = events.map(async |key| {
        let api = client.namespaced::<Event>(&key.namespace);
        match api.delete(&key.name, DeleteOptions::default()).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    });
    let outcomes: Vec<_> = futures::stream::iter(deletions).buffer_unordered(DELETED_TOGETHER_MAX).collect().await;
    outcomes.into_iter().collect()
}

/// How long ago it was last seen, in whichever of its fields says so.
fn age(event: &Event, now: Timestamp) -> Duration {
    let seconds = [&event.metadata.creation_timestamp, &event.first_timestamp, &event.last_timestamp];
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let micros = [event.event_time.as_ref(), series].into_iter().flatten().map(|time| time.0);
    let seen = seconds.into_iter().flatten().map(|time| time.0).chain(micros).max().unwrap_or(now);
    let millis = now.as_millisecond().saturating_sub(seen.as_millisecond());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
