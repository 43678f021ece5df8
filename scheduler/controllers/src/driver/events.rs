//! Events for people: written beside the work, never in its way, and dropped where there are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wherry_api::kinds::Event;
use wherry_base::{Clock, Drain};
use wherry_client::Client;

use crate::plan::Told;

/// How many events wait to be written; more are dropped. What is well may take up half of it: ten thousand pods that
/// are bound at once leave room for those that are not.
const WAITING_MAX: usize = 4096;
const KEPT_FOR_WARNINGS: usize = WAITING_MAX / 2;
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
    sender: mpsc::Sender<Record>,
    clock: Arc<dyn Clock>,
    heard: Arc<Mutex<Heard>>,
}

/// What was told so far.
#[derive(Default)]
struct Heard {
    /// How much about each object, and since when.
    counts: HashMap<String, (Instant, u32)>,
    /// What the last event was named by: names sort as time goes.
    last_nanos: i128,
}

/// An event that is to be written.
struct Record {
    source: &'static str,
    told: Told,
    at: Timestamp,
    /// What its name ends with.
    nanos: i128,
}

impl Events {
    /// Starts the task that writes events.
    pub(crate) fn start(client: Client, clock: Arc<dyn Clock>, drain: &Drain) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        drain.vital().spawn(write(client, receiver));
        Self { sender, clock, heard: Arc::default() }
    }

    /// Tells people what `source` has to say, unless they have heard enough about this object.
    pub(crate) fn tell(&self, source: &'static str, told: Told) {
        if !told.is_warning && self.sender.capacity() <= KEPT_FOR_WARNINGS {
            return;
        }
        let at = self.clock.now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.may_tell(&told.about.uid) {
            heard.last_nanos = at.as_nanosecond().max(heard.last_nanos + 1);
            let _accepted = self.sender.try_send(Record { source, told, at, nanos: heard.last_nanos });
        }
    }
}

impl Heard {
    fn may_tell(&mut self, uid: &str) -> bool {
        if self.counts.len() >= SUBJECTS_MAX {
            self.counts.clear();
        }
        let now = Instant::now();
        let (since, count) = self.counts.entry(uid.to_owned()).or_insert((now, 0));
        let more = u32::try_from(since.elapsed().as_secs() / ONE_MORE_AFTER.as_secs()).unwrap_or(u32::MAX);
        let may = *count < BURST_MAX.saturating_add(more);
        *count = count.saturating_add(u32::from(may));
        may
    }
}

async fn write(client: Client, receiver: mpsc::Receiver<Record>) {
    let records = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let client = &client;
    records
        .for_each_concurrent(WRITING_MAX, async |record| {
            if let Err(error) = create(client, &record).await {
                tracing::debug!(%error, "an event is lost");
            }
        })
        .await;
}

async fn create(client: &Client, record: &Record) -> Result<(), wherry_api::Error> {
    let Record { source, told, at, nanos } = record;
    let about = &told.about;
    // Events about objects of the cluster are kept in `default`, as Kubernetes does.
    let namespace = if about.key.namespace.is_empty() { "default" } else { &about.key.namespace };
    let now = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "metadata": {"name": format!("{}.{nanos:016x}", about.key.name), "namespace": namespace},
        "involvedObject": {
            "apiVersion": about.resource.api_version, "kind": about.resource.kind, "name": about.key.name,
            "namespace": about.key.namespace, "uid": about.uid,
        },
        "type": if told.is_warning { "Warning" } else { "Normal" },
        "reason": told.reason, "message": told.message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": source}, "reportingComponent": source, "reportingInstance": "",
    });
    let event: Event = serde_json::from_value(event)
        .map_err(|e| wherry_api::Error::new(wherry_api::Reason::InternalError, e.to_string()))?;
    client.namespaced::<Event>(namespace).create(&event).await.map(drop)
}
