//! Writing a pod's status: one write at a time, what happens meanwhile is in the next; then, if due, the deletion.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use wherry_api::kinds::Pod;
use wherry_api::{Error, Kind, Reason};
use wherry_base::Backoff;
use wherry_client::{DeleteOptions, PatchKind, Precondition, Request, Verb};

use super::{Live, Worker};
use crate::pod::Urgency;
use crate::status;

/// How long a status that nobody waits for may wait for more to come.
const SOON: Duration = Duration::from_millis(50);
/// The first and the longest wait after a write that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a container's end waits for the status that says so.
const REPORTED_PATIENCE: Duration = Duration::from_secs(1);

/// What is to be written.
#[derive(Default)]
pub struct Reporting {
    /// A task is at it.
    active: bool,
    /// The state changed since the last write began.
    dirty: bool,
    /// A write is on its way.
    writing: bool,
    /// Others wait for it.
    urgent: bool,
    /// The object is to be deleted after the status is written.
    delete: bool,
    /// The hash of the last status that was written.
    written: u64,
}

enum Job {
    Status { body: Bytes, hash: u64, version: u32 },
    Delete,
}

impl Worker {
    pub(super) fn request_report(self: &Arc<Self>, live: &mut Live, urgency: Urgency) {
        live.report.dirty = true;
        if urgency == Urgency::Now {
            live.report.urgent = true;
            self.hurry.notify_one();
        }
        if !std::mem::replace(&mut live.report.active, true) {
            self.context.drain.spawn(self.clone().report());
        }
    }

    pub(super) fn request_delete(self: &Arc<Self>, live: &mut Live) {
        live.report.delete = true;
        self.request_report(live, Urgency::Now);
    }

    /// Waits until what is to be written is written, with bounded patience.
    pub async fn reported(&self) {
        let _late = tokio::time::timeout(REPORTED_PATIENCE, self.written()).await;
    }

    /// Waits until what is to be written is written.
    pub(super) async fn written(&self) {
        loop {
            let reported = self.reported.notified();
            let mut reported = std::pin::pin!(reported);
            reported.as_mut().enable();
            if self.live().report.is_written() {
                return;
            }
            reported.await;
        }
    }

    async fn report(self: Arc<Self>) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            self.gather().await;
            let Some(job) = self.next_job() else { return };
            let deletes = matches!(job, Job::Delete);
            let carried = self.carry(job).await;
            self.live().report.writing = false;
            self.reported.notify_waiters();
            match carried {
                Ok(()) => backoff.reset(),
                Err(error) if error.reason == Reason::NotFound => {
                    tracing::debug!(pod = %self.pod.name, %error, "the status has no object any more");
                }
                Err(error) if error.reason == Reason::Invalid => {
                    tracing::error!(pod = %self.pod.name, %error, "the status was refused");
                }
                Err(error) if error.reason == Reason::Conflict => {
                    tracing::debug!(pod = %self.pod.name, %error, "the object has changed; trying again");
                    self.live().report.again(deletes);
                    let _news = tokio::time::timeout(backoff.fail(), self.hurry.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(pod = %self.pod.name, %error, "the status could not be written; trying again");
                    self.live().report.again(deletes);
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
        }
    }

    /// Waits a moment for more to come, unless others wait already.
    async fn gather(&self) {
        let urgent = async {
            while !self.live().report.urgent {
                self.hurry.notified().await;
            }
        };
        let _soon = tokio::time::timeout(SOON, urgent).await;
    }

    fn next_job(&self) -> Option<Job> {
        let mut live = self.live();
        live.report.urgent = false;
        if live.is_gone() {
            live.report.dirty = false;
            live.report.delete = false;
        }
        if std::mem::take(&mut live.report.dirty)
            && let Some(job) = self.status_job(&mut live)
        {
            return Some(job);
        }
        if std::mem::take(&mut live.report.delete) {
            return Some(Job::Delete);
        }
        live.report.active = false;
        live.decoded = None;
        drop(live);
        self.reported.notify_waiters();
        None
    }

    fn status_job(&self, live: &mut Live) -> Option<Job> {
        let pod = live.pod();
        let status = status::of(&live.state, &pod, self.context.config.node_ip, self.context.clock.now());
        let status = status::patch(&status, &pod).ok()?;
        let mut hasher = DefaultHasher::new();
        status.hash(&mut hasher);
        let hash = hasher.finish();
        // A request that was given up may be carried out much later: not after another one was.
        let metadata = json!({ "uid": self.pod.uid, "resourceVersion": pod.metadata.resource_version });
        let body = format!(r#"{{"metadata":{metadata},"status":{status}}}"#);
        live.report.writing = hash != live.report.written;
        live.report.writing.then(|| Job::Status { body: body.into(), hash, version: live.version })
    }

    async fn carry(&self, job: Job) -> Result<(), Error> {
        match job {
            Job::Status { body, hash, version } => {
                let written = self.send("status", Verb::Patch(PatchKind::Merge, body)).await?;
                let mut live = self.live();
                live.report.written = hash;
                if live.version == version {
                    live.replace(written);
                }
                Ok(())
            }
            Job::Delete => {
                let precondition = Precondition { uid: self.pod.uid.clone(), ..Precondition::default() };
                let options = DeleteOptions { grace_period_seconds: Some(0), precondition, ..DeleteOptions::default() };
                self.send("", Verb::Delete(options)).await.map(drop)
            }
        }
    }

    async fn send(&self, subresource: &'static str, verb: Verb) -> Result<Bytes, Error> {
        let request = Request {
            resource: Pod::resource(),
            namespace: Some(self.pod.namespace.clone()),
            name: self.pod.name.clone(),
            subresource,
            verb,
        };
        self.context.client.transport().send(request).await
    }
}

impl Reporting {
    /// Whether nothing of the state is unwritten.
    fn is_written(&self) -> bool {
        !self.active || !self.dirty && !self.writing
    }

    /// A job failed and is to be done again.
    fn again(&mut self, deletes: bool) {
        self.urgent = true;
        if deletes {
            self.delete = true;
        } else {
            self.dirty = true;
        }
    }
}
