//! Events for people, as objects of the API: one task writes them all; what comes too fast is dropped, what repeats is counted.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EventSource, ObjectReference};
use serde_json::json;
use tokio::sync::mpsc;
use wherry_api::kinds::{Event, ObjectMeta, Time};
use wherry_base::{Clock, Drain};
use wherry_client::Client;
use wherry_runtime::PodRef;

/// How many events wait to be written; more are dropped.
const WAITING_MAX: usize = 4_096;
/// How many events are remembered, to count repetitions; then memory starts over.
const REMEMBERED_MAX: usize = 4_096;

/// Takes events; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
    clock: Arc<dyn Clock>,
}

struct Record {
    about: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

struct Writer {
    client: Client,
    node: String,
    /// What the last event was named by: names sort as time goes.
    last_nanos: i128,
    seen: HashMap<(String, &'static str, String), (String, u32)>,
}

impl Recorder {
    /// Starts the writing task.
    pub fn spawn(client: Client, node: String, clock: Arc<dyn Clock>, drain: &Drain) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Record>(WAITING_MAX);
        let mut writer = Writer { client, node, last_nanos: 0, seen: HashMap::new() };
        drain.vital().spawn(async move {
            while let Some(record) = waiting.recv().await {
                writer.write(record).await;
            }
        });
        Self { queue, clock }
    }

    /// Tells of a pod, or of one of its containers (`init` where it is an init container).
    pub fn pod(
        &self,
        pod: &PodRef,
        container: Option<(&str, bool)>,
        warning: bool,
        reason: &'static str,
        message: String,
    ) {
        let field = container.map(|(name, init)| {
            let list = if init { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        });
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
            field_path: field,
            resource_version: None,
        };
        self.record(about, warning, reason, message);
    }

    /// Warns of the node itself. Its uid is its name, as a kubelet has it.
    pub fn node(&self, name: &str, reason: &'static str, message: String) {
        let about = ObjectReference {
            kind: Some("Node".into()),
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        self.record(about, true, reason, message);
    }

    fn record(&self, about: ObjectReference, warning: bool, reason: &'static str, message: String) {
        let record = Record { about, warning, reason, message, at: self.clock.now() };
        if self.queue.try_send(record).is_err() {
            tracing::debug!(reason, "too many events: one is dropped");
        }
    }
}

impl Writer {
    async fn write(&mut self, record: Record) {
        let subject = format!("{:?}{:?}", record.about.uid, record.about.field_path);
        let key = (subject, record.reason, record.message.clone());
        if let Some((name, count)) = self.seen.get_mut(&key) {
            *count += 1;
            let patch = json!({ "count": *count, "lastTimestamp": Time(record.at) });
            let events = self.client.namespaced::<Event>(namespace_of(&record.about));
            if events.merge(name, &patch).await.is_ok() {
                return;
            }
        }
        let event = self.event(record);
        let name = event.metadata.name.clone().unwrap_or_default();
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        match self.client.namespaced::<Event>(&namespace).create(&event).await {
            Ok(_) => self.remember(key, name),
            Err(error) => tracing::debug!(%error, "an event is lost"),
        }
    }

    fn remember(&mut self, key: (String, &'static str, String), name: String) {
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen.clear();
        }
        self.seen.insert(key, (name, 1));
    }

    fn event(&mut self, record: Record) -> Event {
        let kind = if record.warning { "Warning" } else { "Normal" };
        let subject = record.about.name.as_deref().unwrap_or_default();
        self.last_nanos = record.at.as_nanosecond().max(self.last_nanos + 1);
        let meta = ObjectMeta {
            name: Some(format!("{subject}.{:016x}", self.last_nanos)),
            namespace: Some(namespace_of(&record.about).to_owned()),
            ..ObjectMeta::default()
        };
        Event {
            metadata: meta,
            involved_object: record.about,
            type_: Some(kind.into()),
            reason: Some(record.reason.into()),
            message: Some(record.message),
            count: Some(1),
            first_timestamp: Some(Time(record.at)),
            last_timestamp: Some(Time(record.at)),
            source: Some(EventSource { component: Some("kubelet".into()), host: Some(self.node.clone()) }),
            reporting_component: Some("kubelet".into()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }
}

/// Where events of an object are: those of what has no namespace are in the usual one.
fn namespace_of(about: &ObjectReference) -> &str {
    about.namespace.as_deref().unwrap_or("default")
}
