//! The agent as a whole: registers the node, watches the pods bound to it, and stops them when it ends.
//!
//! Spawns the heartbeat of the node, the recorder of events and whatever the pods need; all of that ends in `run`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use wherry_api::kinds::{ObjectMeta, Pod};
use wherry_api::{Error, Kind, Reason};
use wherry_base::{Backoff, Clock, Drain, Trigger};
use wherry_client::{Client, EventKind, ListOptions, RawEvent, Request, Verb, WatchOptions};
use wherry_runtime::PodRef;
use wherry_vnet::Network;

use crate::config::AgentConfig;
use crate::context::{Context, Parts};
use crate::fence::{self, Hold};
use crate::images;
use crate::lease::Terms;
use crate::logs::Logs;
use crate::node;
use crate::pod::{Event, State, Why};
use crate::runtimes::Runtimes;
use crate::silence;
use crate::status;
use crate::storage;
use crate::volumes;
use crate::worker::{Inheritance, Worker};

/// How long the pods of a node that ends may take, whatever their own grace.
pub const SHUTDOWN_GRACE_MAX: Duration = Duration::from_secs(25);
/// How long tasks may take that are left after the pods have ended.
const TASKS_PATIENCE: Duration = Duration::from_secs(2);
/// The first and the longest wait before the watch is opened again.
const WATCH_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long to wait for the list of Services before pods are started without it.
const SERVICES_PATIENCE: Duration = Duration::from_secs(2);
/// Why a pod does not start that comes while there is no room for it.
const REFUSED: &str = "Pod was rejected: The node had condition: [DiskPressure]. ";
/// The grace of a pod whose object is gone without a deletion that names one.
const GONE_GRACE: Duration = Duration::from_secs(1);

/// A node's agent.
pub struct Agent {
    context: Arc<Context>,
    tasks: Trigger,
}

/// What others may ask of an agent that runs.
#[derive(Clone)]
pub struct AgentHandle {
    pub(crate) context: Arc<Context>,
}

#[derive(Deserialize)]
struct Peek {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PeekSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PeekSpec {
    init_containers: Vec<PeekContainer>,
    containers: Vec<PeekContainer>,
}

#[derive(Deserialize, Hash)]
struct PeekContainer {
    #[serde(default)]
    image: String,
}

#[derive(Deserialize)]
struct WireList<'a> {
    metadata: ObjectMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

impl Peek {
    /// Differs where what may change of a pod's spec differs.
    fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.metadata.generation, &self.spec.init_containers, &self.spec.containers).hash(&mut hasher);
        hasher.finish()
    }
}

impl Agent {
    /// An agent that has not begun yet. Fails where its directories cannot be made.
    pub fn new(
        config: AgentConfig,
        client: Client,
        runtimes: Runtimes,
        network: Arc<Network>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let tasks = Trigger::new();
        let logs = Logs::start(config.data_dir.join("logs"), clock.clone())?;
        let machine = node::machine();
        let terms = Terms::kept(&config.data_dir).unwrap_or(Terms::DEFAULT);
        let drain = tasks.drain();
        let context = Context::new(Parts { config, client, runtimes, network, clock, logs, machine, terms, drain });
        Ok(Self { context, tasks })
    }

    /// What others may ask of it.
    pub fn handle(&self) -> AgentHandle {
        AgentHandle { context: self.context.clone() }
    }

    /// Runs the node until the drain; then stops its pods, whose objects stay, and resolves.
    pub async fn run(self, drain: Drain) {
        node::spawn(self.context.clone());
        fence::spawn(self.context.clone());
        silence::spawn(&self.context);
        tokio::select! {
            () = drain.ended() => {}
            () = self.context.clone().watch() => {}
        }
        self.context.shut_down().await;
        if !self.tasks.stop(TASKS_PATIENCE).await {
            tracing::warn!("some of the agent's tasks did not end in time");
        }
    }
}

impl Context {
    async fn watch(self: Arc<Self>) {
        let _late = tokio::time::timeout(SERVICES_PATIENCE, self.services.synced()).await;
        let mut backoff = Backoff::new(WATCH_RETRY.0, WATCH_RETRY.1);
        let mut first = true;
        loop {
            let hold = self.fence.held().await;
            match self.list(first, hold).await {
                Ok(mut revision) => {
                    first = false;
                    tokio::select! {
                        () = self.follow_on(&mut revision, hold, &mut backoff) => {}
                        () = self.fence.reopened.notified() => self.await_stopped().await,
                    }
                }
                Err(error) => tracing::warn!(%error, "pods cannot be listed; trying again"),
            }
            tokio::time::sleep(backoff.fail()).await;
        }
    }

    /// Follows the pods' changes until a list is needed.
    async fn follow_on(self: &Arc<Self>, revision: &mut String, hold: Hold, backoff: &mut Backoff) {
        while let Err(error) = self.follow(revision, hold, backoff).await {
            if error.reason == Reason::Expired {
                return;
            }
            tracing::debug!(%error, "the watch of pods broke");
            tokio::time::sleep(backoff.fail()).await;
        }
    }

    /// Takes up all pods that are bound to this node, and drops those that are not any more.
    async fn list(self: &Arc<Self>, first: bool, hold: Hold) -> Result<String, Error> {
        let options = ListOptions { fields: self.own_pods(), ..ListOptions::default() };
        let request = Request {
            resource: Pod::resource(),
            namespace: None,
            name: String::new(),
            subresource: "",
            verb: Verb::List(options),
        };
        let bytes = self.client.transport().send(request).await?;
        if !self.fence.is_unbroken(hold) {
            return Err(outdated());
        }
        let list: WireList<'_> = serde_json::from_slice(&bytes).map_err(unreadable)?;
        let mut known = HashSet::new();
        for item in &list.items {
            let object = Bytes::copy_from_slice(item.get().as_bytes());
            self.make_way(&object);
            known.extend(self.applied(object));
        }
        if first {
            self.runtimes.end_survivors();
            self.inherited.cancel();
        }
        for worker in self.all().into_iter().filter(|worker| !known.contains(&worker.pod.uid)) {
            worker.feed(Event::Stop { why: Why::Gone, grace: GONE_GRACE });
        }
        if first {
            self.remove_orphans();
            storage::spawn(self.clone());
            images::spawn(self.clone());
        }
        Ok(list.metadata.resource_version.unwrap_or_default())
    }

    /// Removes what earlier processes left of pods that are not there any more.
    fn remove_orphans(self: &Arc<Self>) {
        let context = self.clone();
        let remove = move || {
            let known = |uid: &str| context.pods().contains_key(uid);
            volumes::remove_orphans(&context.pods_folder(), known);
            context.logs.remove_orphans(known);
        };
        self.drain.spawn(async move {
            let _ended = wherry_base::spawn_blocking(remove).await;
        });
    }

    /// Follows the pods' changes from `revision` on, which it keeps up to date, until the watch ends.
    async fn follow(self: &Arc<Self>, revision: &mut String, hold: Hold, backoff: &mut Backoff) -> Result<(), Error> {
        let options = WatchOptions {
            fields: self.own_pods(),
            resource_version: revision.clone(),
            bookmarks: true,
            ..WatchOptions::default()
        };
        let mut events = self.client.transport().watch(Pod::resource(), None, options).await?;
        while let Some(event) = events.next().await {
            if let Some(newer) = self.heard(event?, hold)? {
                *revision = newer;
            }
            backoff.reset();
        }
        Err(Error::new(Reason::Timeout, "the server closed the watch"))
    }

    /// One event of the watch; gives its revision. An error where it tells of a pod that is new here, and may be others' by now.
    fn heard(self: &Arc<Self>, event: RawEvent, hold: Hold) -> Result<Option<String>, Error> {
        let Ok(peek) = serde_json::from_slice::<Peek>(&event.object) else { return Ok(None) };
        let uid = peek.metadata.uid.unwrap_or_default();
        match event.kind {
            EventKind::Added | EventKind::Modified => {
                if !self.pods().contains_key(&uid) && !self.fence.is_unbroken(hold) {
                    return Err(outdated());
                }
                self.applied(event.object);
            }
            EventKind::Deleted => self.gone(&uid),
            EventKind::Bookmark => {}
        }
        Ok(peek.metadata.resource_version)
    }

    fn gone(&self, uid: &str) {
        let worker = self.pods().get(uid).cloned();
        if let Some(worker) = worker {
            worker.feed(Event::Stop { why: Why::Gone, grace: GONE_GRACE });
        }
    }

    /// A pod that was stopped for a while, and is this node's still, is to be taken up as if it were new.
    fn make_way(&self, object: &Bytes) {
        let Ok(Peek { metadata: ObjectMeta { uid: Some(uid), deletion_timestamp: None, .. }, .. }) =
            serde_json::from_slice(object)
        else {
            return;
        };
        let known = self.pods().get(&uid).cloned();
        if known.is_some_and(|worker| worker.inspect(State::is_set_aside) && worker.is_cleared()) {
            self.pods().remove(&uid);
        }
    }

    /// A pod of this node is there, or changed; gives its uid.
    fn applied(self: &Arc<Self>, object: Bytes) -> Option<String> {
        let peek: Peek = serde_json::from_slice(&object).ok()?;
        let uid = peek.metadata.uid.clone()?;
        let known = self.pods().get(&uid).cloned();
        let worker = match known {
            Some(worker) => {
                worker.update(object, peek.mark());
                worker
            }
            None => self.taken_up(object, peek.mark())?,
        };
        if let Some(deleted) = &peek.metadata.deletion_timestamp {
            let seconds = peek.metadata.deletion_grace_period_seconds.unwrap_or_default();
            let grace = left_of(deleted.0, seconds, self.clock.now());
            worker.feed(Event::Stop { why: Why::Deleted, grace });
        }
        Some(uid)
    }

    fn taken_up(self: &Arc<Self>, object: Bytes, mark: u64) -> Option<Arc<Worker>> {
        let pod: Pod =
            serde_json::from_slice(&object).map_err(|error| tracing::warn!(%error, "unreadable pod")).ok()?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &pod.metadata;
        let name = PodRef { namespace: text(&meta.namespace), name: text(&meta.name), uid: text(&meta.uid) };
        let over = status::is_terminal(&pod);
        let inheritance = if over { None } else { Inheritance::of(self, &pod, &name) };
        let now = self.clock.now();
        let state = match &inheritance {
            _ if over => status::over(&pod, now),
            Some(inheritance) => status::inherit(&pod, inheritance.survivors(), now),
            None => status::resume(&pod, now),
        };
        let worker = Worker::new(self, name, object, mark, state);
        self.pods().insert(worker.pod.uid.clone(), worker.clone());
        let is_new = inheritance.is_none() && !status::was_running(&pod);
        match inheritance {
            Some(inheritance) => worker.adopt(&pod, &inheritance),
            None if !over && !is_new => self.recorder.pod(
                &worker.pod,
                None,
                false,
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.".to_owned(),
            ),
            None => {}
        }
        if !over {
            self.storage.watch(&worker.pod.uid, &pod);
            if is_new && *self.storage.pressure().borrow() {
                // It was bound before the cluster knew; a kubelet's words.
                worker.feed(Event::Evict { message: REFUSED.to_owned() });
            } else {
                worker.begin(pod);
            }
        }
        Some(worker)
    }

    fn own_pods(&self) -> String {
        format!("spec.nodeName={}", self.config.node_name)
    }

    /// Stops all pods within `SHUTDOWN_GRACE_MAX`.
    async fn shut_down(&self) {
        let pods = self.all();
        for worker in &pods {
            let own = worker.inspect(|state| Duration::from_secs(state.outline.grace_seconds.into()));
            worker.feed(Event::Stop { why: Why::Shutdown, grace: own.min(SHUTDOWN_GRACE_MAX) });
        }
        let ended = self.until_over(&pods);
        if tokio::time::timeout(SHUTDOWN_GRACE_MAX + TASKS_PATIENCE, ended).await.is_err() {
            tracing::warn!("some pods did not end in time");
        }
    }

    /// Waits until nothing is left of pods that end but their objects.
    pub async fn until_over(&self, pods: &[Arc<Worker>]) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if pods.iter().all(|worker| worker.is_cleared()) {
                return;
            }
            settled.await;
        }
    }
}

/// What is left of a deletion's grace: `deleted` is when it ends.
fn left_of(deleted: Timestamp, seconds: i64, now: Timestamp) -> Duration {
    let left = deleted.duration_since(now).min(SignedDuration::from_secs(seconds));
    // The API has whole seconds: what was cut off is given back.
    let left = if seconds > 0 { left + SignedDuration::from_secs(1) } else { left };
    Duration::try_from(left.min(SignedDuration::from_secs(seconds))).unwrap_or_default()
}

/// The error of what was asked before the node let go of its pods.
fn outdated() -> Error {
    Error::new(Reason::Expired, "the node has not held its pods all the while: they may be others' by now")
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::new(Reason::InternalError, format!("unreadable list of pods: {error}"))
}
