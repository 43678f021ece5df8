//! Events for people: written beside the work, never in its way, and dropped where there are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wherry_api::kinds::Event;
use wherry_base::{Clock, Drain, Rng};
use wherry_client::Client;

use crate::plan::Told;

/// How many events wait to be written; more are dropped.
const WAITING_MAX: usize = 4096;
/// How many are written at once.
const WRITING_MAX: usize = 16;
/// How many events about one object are told at once, and how often one more.
const BURST_MAX: u32 = 25;
const ONE_MORE_AFTER: Duration = Duration::from_secs(300);
/// How many objects' counts are remembered.
const SUBJECTS_MAX: usize = 8192;

/// Where events are handed in; cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<Told>,
    counts: Arc<Mutex<HashMap<String, (Instant, u32)>>>,
}

impl Events {
    /// Starts the task that writes events.
    pub(crate) fn start(client: Client, clock: Arc<dyn Clock>, drain: &Drain) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        drain.spawn(write(client, clock, receiver));
        Self { sender, counts: Arc::default() }
    }

    /// Tells people, unless they have heard enough about this object.
    pub(crate) fn tell(&self, told: Told) {
        if self.may_tell(&told.about.uid) {
            let _accepted = self.sender.try_send(told);
        }
    }

    fn may_tell(&self, uid: &str) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= SUBJECTS_MAX {
            counts.clear();
        }
        let now = Instant::now();
        let (since, count) = counts.entry(uid.to_owned()).or_insert((now, 0));
        let more = u32::try_from(since.elapsed().as_secs() / ONE_MORE_AFTER.as_secs()).unwrap_or(u32::MAX);
        let may = *count < BURST_MAX.saturating_add(more);
        *count = count.saturating_add(u32::from(may));
        may
    }
}

async fn write(client: Client, clock: Arc<dyn Clock>, receiver: mpsc::Receiver<Told>) {
    let rng = Rng::from_entropy();
    let told = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let (client, clock, rng) = (&client, &clock, &rng);
    told.for_each_concurrent(WRITING_MAX, async |told| {
        if let Err(error) = create(client, &**clock, rng, &told).await {
            tracing::debug!(%error, "an event is lost");
        }
    })
    .await;
}

async fn create(client: &Client, clock: &dyn Clock, rng: &Rng, told: &Told) -> Result<(), wherry_api::Error> {
    let about = &told.about;
    // Events about objects of the cluster are kept in `default`, as Kubernetes does.
    let namespace = if about.key.namespace.is_empty() { "default" } else { &about.key.namespace };
    let now = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "metadata": {"name": format!("{}.{:016x}", about.key.name, rng.next()), "namespace": namespace},
        "involvedObject": {
            "apiVersion": about.resource.api_version, "kind": about.resource.kind, "name": about.key.name,
            "namespace": about.key.namespace, "uid": about.uid,
        },
        "type": if told.is_warning { "Warning" } else { "Normal" },
        "reason": told.reason, "message": told.message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": "wherry"}, "reportingComponent": "wherry", "reportingInstance": "",
    });
    let event: Event = serde_json::from_value(event)
        .map_err(|e| wherry_api::Error::new(wherry_api::Reason::InternalError, e.to_string()))?;
    client.namespaced::<Event>(namespace).create(&event).await.map(drop)
}
