//! One pod on this node: holds its state, feeds events to `pod::step`, carries out the effects.
//!
//! Effects that take time run as tasks that end with the next event; an idle pod has no task but the one a container
//! that waits for its exit. The pod's object is kept as the bytes in which it came.

mod adopt;
mod image;
mod last_words;
mod report;
mod set_up;
mod start;
mod stop;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Container as ContainerFields;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use wherry_api::kinds::Pod;
use wherry_runtime::{Container, Exit, PodRef, Usage};
use wherry_vnet::Namespace;

use crate::context::Context;
use crate::logs::ContainerLog;
use crate::pod::{Effect, Event, Notice, Outline, Phase, Role, State, Timer, Why, step};
use crate::probes::{Probing, Subject};
use crate::tokens::Tokens;
pub use adopt::Inheritance;
pub use start::container_at;

/// A pod on this node.
pub struct Worker {
    /// Which pod.
    pub pod: PodRef,
    context: Arc<Context>,
    live: Mutex<Live>,
    tokens: Tokens,
    /// Wakes the report that waits for more to come, or for another version of the object.
    hurry: Notify,
    /// Wakes those who wait until the status is written.
    reported: Notify,
}

struct Live {
    object: Bytes,
    /// Counts the objects.
    version: u32,
    /// Tells the spec of the outline from others.
    mark: u64,
    decoded: Option<Arc<Pod>>,
    state: State,
    network: Option<Arc<Namespace>>,
    runs: Vec<Run>,
    set_up_failures: u32,
    report: report::Reporting,
    /// Its volumes are being removed.
    is_clearing: bool,
}

/// What runs for a container.
#[derive(Default)]
struct Run {
    container: Option<Arc<dyn Container>>,
    log: Option<Arc<ContainerLog>>,
    probes: Option<DropGuard>,
    /// It was asked to stop.
    stopping: bool,
}

impl Worker {
    /// A pod in `state`, with which nothing happens yet.
    pub fn new(context: &Arc<Context>, pod: PodRef, object: Bytes, mark: u64, state: State) -> Arc<Self> {
        let live = Live {
            object,
            version: 0,
            mark,
            decoded: None,
            runs: state.slots.iter().map(|_| Run::default()).collect(),
            state,
            network: None,
            set_up_failures: 0,
            report: report::Reporting::default(),
            is_clearing: false,
        };
        Arc::new(Self {
            pod,
            context: context.clone(),
            live: Mutex::new(live),
            tokens: Tokens::default(),
            hurry: Notify::new(),
            reported: Notify::new(),
        })
    }

    /// Takes the pod up. Containers that run already may be of a spec that has changed since.
    pub fn begin(self: &Arc<Self>, decoded: Pod) {
        let outline = Outline::of(&decoded);
        let mut live = self.live();
        live.decoded = Some(Arc::new(decoded));
        self.feed_locked(&mut live, Event::Begin);
        if *live.state.outline != outline {
            self.feed_locked(&mut live, Event::Changed(Arc::new(outline)));
        }
    }

    /// Lets something happen to the pod.
    pub fn feed(self: &Arc<Self>, event: Event) {
        self.feed_locked(&mut self.live(), event);
    }

    /// The pod's object changed; `mark` tells whether its spec did.
    pub fn update(self: &Arc<Self>, object: Bytes, mark: u64) {
        let mut live = self.live();
        live.replace(object);
        // A report may wait for just that.
        self.hurry.notify_one();
        if mark != live.mark {
            live.mark = mark;
            let outline = Arc::new(Outline::of(&live.pod()));
            self.feed_locked(&mut live, Event::Changed(outline));
        }
    }

    /// The pod's object as it was last seen.
    pub fn object(&self) -> Bytes {
        self.live().object.clone()
    }

    /// Looks at the state.
    pub fn inspect<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.live().state)
    }

    /// Nobody reaches the pod any more, nor it anybody, from this moment on.
    pub fn unplug(&self) {
        self.live().network.iter().for_each(|network| network.close());
    }

    /// Whether it is over, and its volumes are gone.
    pub fn is_cleared(&self) -> bool {
        let live = self.live();
        live.state.is_over() && !live.is_clearing
    }

    /// The pod's network, while it has one.
    pub fn network(&self) -> Option<Arc<Namespace>> {
        self.live().network.clone()
    }

    /// A container by its name, while it runs.
    pub fn container(&self, name: &str) -> Option<Arc<dyn Container>> {
        let live = self.live();
        let index = live.state.outline.containers.iter().position(|outline| *outline.name == *name)?;
        live.runs.get(index)?.container.clone()
    }

    /// Looks at the fields of a container.
    pub fn fields<T>(&self, name: &str, look: impl FnOnce(&ContainerFields) -> T) -> Option<T> {
        let pod = self.live().pod();
        let spec = pod.spec.as_ref()?;
        let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
        all.find(|fields| fields.name == name).map(look)
    }

    /// What each running container has used, by name, and when that was so.
    pub fn usage(&self) -> Vec<(String, Usage, Instant)> {
        let live = self.live();
        let pairs = live.state.outline.containers.iter().zip(&live.runs);
        let measured = pairs.filter_map(|(outline, run)| Some((outline, run.container.as_ref()?.measured())));
        measured.map(|(outline, (usage, at))| (outline.name.to_string(), usage, at)).collect()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed_locked(self: &Arc<Self>, live: &mut Live, event: Event) {
        let (state, effects) = step(std::mem::take(&mut live.state), self.context.clock.now(), event);
        live.state = state;
        for effect in effects {
            self.carry_out(live, effect);
        }
    }

    fn carry_out(self: &Arc<Self>, live: &mut Live, effect: Effect) {
        match effect {
            Effect::SetUp => self.context.drain.spawn(self.clone().set_up()),
            Effect::Start(index) => self.context.drain.spawn(self.clone().start(index)),
            Effect::Stop { index, grace } => self.stop(live, index, grace),
            Effect::Probe(index) => self.probe(live, index),
            Effect::Timer(after, timer) => self.set_timer(after, timer),
            Effect::Report(urgency) => self.request_report(live, urgency),
            Effect::Emit(notice) => self.emit(&live.state, notice),
            Effect::Release => self.release(live),
            Effect::Delete => self.request_delete(live),
            Effect::Forget => self.context.forget(&self.pod),
        }
    }

    fn set_timer(self: &Arc<Self>, after: Duration, timer: Timer) {
        let worker = Arc::downgrade(self);
        self.context.drain.spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(worker) = worker.upgrade() {
                worker.feed(Event::Timer(timer));
            }
        });
    }

    fn probe(self: &Arc<Self>, live: &mut Live, index: usize) {
        let (Some(slot), Some(network)) = (live.state.slots.get(index), live.network.clone()) else { return };
        let Some(run) = slot.running() else { return };
        let age = Duration::try_from(self.context.clock.now().duration_since(run.since)).unwrap_or_default();
        let subject = Subject { index, turn: slot.turn, age, started: run.started };
        let Some(container) = live.runs.get(index).and_then(|run| run.container.clone()) else { return };
        let Some(probing) = Probing::new(&live.pod(), network.address(), subject, &container) else { return };
        let token = CancellationToken::new();
        let worker = self.clone();
        let stopped = token.clone();
        self.context.drain.spawn(async move {
            tokio::select! {
                () = probing.run(&worker.context.network, |event| worker.feed(event)) => {}
                () = stopped.cancelled() => {}
            }
        });
        if let Some(run) = live.runs.get_mut(index) {
            run.probes = Some(token.drop_guard());
        }
    }

    fn emit(&self, state: &State, notice: Notice) {
        let outline = notice.index.and_then(|index| state.outline.containers.get(index));
        let container = outline.map(|outline| (&*outline.name, outline.role != Role::Main));
        self.context.recorder.pod(&self.pod, container, notice.warning, notice.reason, notice.message);
    }

    /// A container ended: its probes stop, its log is complete, its last words are read.
    async fn exited(self: &Arc<Self>, index: usize, exit: Exit) {
        let run = self.live().runs.get_mut(index).map(std::mem::take).unwrap_or_default();
        if let Some(log) = run.log {
            log.end();
        }
        let exit = self.with_last_words(index, exit).await;
        self.feed(Event::Exited { index, exit });
    }

    fn release(self: &Arc<Self>, live: &mut Live) {
        if let Some(network) = live.network.take() {
            network.close();
        }
        let pod = live.pod();
        if let Some(spec) = &pod.spec {
            self.context.references.remove(self, spec);
        }
        if crate::volumes::any(&pod) {
            let (folder, worker) = (self.context.volumes_folder(&self.pod), self.clone());
            live.is_clearing = true;
            self.context.drain.spawn_graceful(async move {
                let _ended = wherry_base::spawn_blocking(move || crate::volumes::remove(&folder)).await;
                worker.live().is_clearing = false;
                worker.context.settled.notify_waiters();
            });
        }
        self.context.settled.notify_waiters();
    }
}

impl Live {
    /// Whether the object is known to be gone, so that nothing is to be written of it.
    fn is_gone(&self) -> bool {
        self.state.phase == Phase::Terminated(Why::Gone)
    }

    /// The pod, decoded; kept until the object changes or the pod comes to rest.
    fn pod(&mut self) -> Arc<Pod> {
        if let Some(pod) = &self.decoded {
            return pod.clone();
        }
        let pod: Arc<Pod> = Arc::new(serde_json::from_slice(&self.object).unwrap_or_default());
        self.decoded = Some(pod.clone());
        pod
    }

    fn replace(&mut self, object: Bytes) {
        self.object = object;
        self.version = self.version.wrapping_add(1);
        self.decoded = None;
    }
}
