//! The connection to one sandbox: what is on its way, and what the sandbox is known to have.
//!
//! A sandbox is hostile: what it says of pods that are not its own is ignored, and one that breaks the protocol, or does
//! not read what it is told, is killed. Its containers then end as `SandboxChanged`, and nothing else happens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wherry_base::Drain;
use wherry_runtime::{LogSink, Staged};
use wherry_vnet::{DialError, Holder, Namespace};

use super::container::Remote;
use super::launch::Process;
use super::runtime::POD_PREFIX;
use crate::channel::Channel;
use crate::message::{Failure, Port, Ranges, SurvivingContainer, ToNode, ToSandbox, VERSION, WireExit};
use crate::wire::{Packet, TooLarge, Wire};

/// How many messages wait for a sandbox before it counts as one that does not read.
const WAITING_MAX: usize = 4096;

/// How many connections and lookups a sandbox may wait for at once; further ones are refused.
const ASKED_MAX: usize = 1024;

/// How long a container that is killed may take to yield before its process is killed, where that is its pod's own.
const YIELD_MOST: Duration = Duration::from_millis(10);

/// How long the end of a process may take after that of its connection.
const FATE_MOST: Duration = Duration::from_millis(50);

/// What holds for all sandboxes of a node.
pub(crate) struct Terms {
    pub(crate) ranges: Ranges,
    /// The threads that requests come from.
    pub(crate) requests: Handle,
    /// What code is compiled for.
    pub(crate) engine: String,
}

/// A sandbox that is up, or on its way.
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) drain: Drain,
    pub(crate) asked: Arc<Semaphore>,
    process: Box<dyn Process>,
    outgoing: mpsc::Sender<Packet>,
    this: Weak<Self>,
    state: Mutex<State>,
    /// What code the sandbox must run.
    engine: String,
    /// The channel for requests, and the threads that carry it.
    pub(super) channel: Mutex<Option<Arc<Channel>>>,
    pub(super) requests: Handle,
    /// Cancelled when the sandbox has said what there is.
    introduced: CancellationToken,
    /// Cancelled when the sandbox is gone.
    pub(super) gone: CancellationToken,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) containers: HashMap<String, Arc<Remote>>,
    pub(crate) starting: HashMap<String, oneshot::Sender<Result<(), Failure>>>,
    pub(crate) pods: HashMap<IpAddr, Weak<Namespace>>,
    /// What containers may use of the CPU, where the operating system sees to that.
    cpu_milli: HashMap<String, Option<u32>>,
    /// What an earlier node has started there and this one has not taken over.
    /// By the pod's uid and their own id.
    pub(crate) survivors: BTreeMap<(String, String), SurvivingContainer>,
    /// The ports that their pods have bound.
    pub(crate) survivors_ports: BTreeSet<Port>,
    /// The senders for datagrams of the pods' bound ports.
    pub(crate) datagrams: HashMap<(IpAddr, SocketAddr), super::asked::Datagrams>,
}

impl Link {
    /// Speaks over `wire` with the sandbox that is `process`.
    pub(crate) fn open(name: &str, process: Box<dyn Process>, wire: Wire, terms: &Terms, drain: &Drain) -> Arc<Self> {
        let (outgoing, waiting) = mpsc::channel::<Packet>(WAITING_MAX);
        let link = Arc::new_cyclic(|this| Self {
            name: name.to_owned(),
            drain: drain.clone(),
            asked: Arc::new(Semaphore::new(ASKED_MAX)),
            process,
            outgoing,
            this: this.clone(),
            state: Mutex::default(),
            engine: terms.engine.clone(),
            channel: Mutex::default(),
            requests: terms.requests.clone(),
            introduced: CancellationToken::new(),
            gone: CancellationToken::new(),
        });
        link.tell(&ToSandbox::Hello { version: VERSION, network: terms.ranges.clone() }, Vec::new());
        let wire = Arc::new(wire);
        drain.spawn(Arc::clone(&link).speak(Arc::clone(&wire), waiting));
        drain.spawn(Arc::clone(&link).listen(wire));
        let watcher = Arc::clone(&link);
        drain.spawn(async move {
            let how = watcher.process.ended().await;
            watcher.end(&how);
        });
        link
    }

    /// Sends a message; a sandbox that does not read is ended.
    pub(crate) fn tell(&self, message: &ToSandbox, descriptors: Vec<OwnedFd>) {
        let told = self.try_tell(message, descriptors);
        if told.is_ok_and(|told| !told) {
            self.end("the sandbox does not read what it is told");
        }
    }

    /// Sends a message; whether there was room.
    pub(crate) fn try_tell(&self, message: &ToSandbox, descriptors: Vec<OwnedFd>) -> Result<bool, TooLarge> {
        let packet = Packet::new(message, descriptors)?;
        Ok(!matches!(self.outgoing.try_send(packet), Err(mpsc::error::TrySendError::Full(_))))
    }

    /// Kills the sandbox, if it is not gone, and ends what it had.
    pub(crate) fn end(&self, why: &str) {
        if self.gone.is_cancelled() {
            return;
        }
        self.gone.cancel();
        self.process.kill();
        let State { containers, datagrams, pods, .. } = std::mem::take(&mut *self.state());
        if containers.is_empty() {
            tracing::info!(sandbox = %self.name, "a sandbox is gone: {why}");
        } else {
            tracing::warn!(sandbox = %self.name, containers = containers.len(), "a sandbox is gone: {why}");
        }
        drop(datagrams);
        for pod in pods.values().filter_map(Weak::upgrade) {
            pod.unbind_all_held();
        }
        for container in containers.values() {
            container.lose(why);
        }
    }

    /// What the containers may use of the CPU together, now that this one is among them.
    pub(crate) fn share_cpu(&self, container: &str, milli: Option<u32>) {
        let mut state = self.state();
        let State { cpu_milli, containers, .. } = &mut *state;
        cpu_milli.insert(container.to_owned(), milli);
        cpu_milli.retain(|id, _| containers.contains_key(id));
        let sum = cpu_milli.values().try_fold(0_u32, |sum, milli| Some(sum.saturating_add((*milli)?)));
        drop(state);
        self.process.limit_cpu(sum);
    }

    /// Kills a container. The code of a pod that has a sandbox to itself may run without ever yielding: only the end of the
    /// process is sure to be its end, which the pod's other containers are spared where it yields in time.
    pub(crate) fn kill(&self, container: &str) {
        let may_yield = |state: &State| {
            let told = state.containers.get(container).is_some_and(|container| container.ends_when_told);
            told && state.containers.len() > 1
        };
        if self.is_of_one_pod() && !may_yield(&self.state()) {
            return self.end_killed(container);
        }
        self.tell(&ToSandbox::Kill { container: container.to_owned() }, Vec::new());
        if let Some(link) = self.this.upgrade().filter(|link| link.is_of_one_pod()) {
            let container = container.to_owned();
            self.drain.spawn(async move {
                tokio::time::sleep(YIELD_MOST).await;
                if link.state().containers.contains_key(&container) {
                    link.end_killed(&container);
                }
            });
        }
    }

    /// Ends the sandbox to kill a container, whose end is not the loss of its sandbox then.
    fn end_killed(&self, container: &str) {
        let killed = self.state().containers.remove(container);
        killed.iter().for_each(|container| container.killed());
        self.end("a container of its pod was killed");
    }

    /// Whether the sandbox is a pod's own, which is killed with it.
    pub(crate) fn is_of_one_pod(&self) -> bool {
        self.name.starts_with(POD_PREFIX)
    }

    /// What the process has used of the CPU, where that is one container's use: what a guest uses that never returns to the
    /// host is seen there alone.
    pub(crate) fn cpu_of_one(&self) -> Option<Duration> {
        let is_one = self.is_of_one_pod() && self.state().containers.len() == 1;
        if is_one { self.process.cpu_time() } else { None }
    }

    /// Ends a sandbox that has nothing to do.
    pub(crate) fn retire(&self) {
        self.gone.cancel();
        self.process.kill();
    }

    /// Resolves when the sandbox is gone.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    pub(crate) fn is_introduced(&self) -> bool {
        self.introduced.is_cancelled()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Resolves when the sandbox has said what there is, or is gone.
    pub(crate) async fn introduced(&self) {
        self.gone.run_until_cancelled(self.introduced.cancelled()).await;
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.containers.is_empty() && state.starting.is_empty() && state.survivors.is_empty()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the pod network sees it.
    pub(crate) fn holder(&self) -> Option<Arc<dyn Holder>> {
        self.this.upgrade().map(|link| link as _)
    }

    /// A pod of this sandbox.
    pub(crate) fn pod(&self, address: IpAddr) -> Option<Arc<Namespace>> {
        self.state().pods.get(&address)?.upgrade()
    }

    /// A container that is about to be known to the sandbox.
    pub(crate) fn expect(&self, id: &str, logs: Arc<dyn LogSink>, files: Staged, ends_when_told: bool) -> Arc<Remote> {
        let before = self.process.cpu_time().unwrap_or_default();
        let remote = Remote::new(id.to_owned(), logs, files, ends_when_told, before, self.this.clone());
        self.state().containers.insert(id.to_owned(), Arc::clone(&remote));
        remote
    }

    async fn speak(self: Arc<Self>, wire: Arc<Wire>, mut waiting: mpsc::Receiver<Packet>) {
        let send_all = async {
            while let Some(packet) = waiting.recv().await {
                if wire.send(&packet).await.is_err() {
                    return;
                }
            }
        };
        self.gone.run_until_cancelled(send_all).await;
    }

    async fn listen(self: Arc<Self>, wire: Arc<Wire>) {
        let heard = self.gone.run_until_cancelled(self.hear_all(&wire)).await;
        let Some(why) = heard else { return };
        self.end_unless_gone(&why).await;
    }

    /// How the process ended says more than that its connection did.
    pub(super) async fn end_unless_gone(&self, why: &str) {
        if tokio::time::timeout(FATE_MOST, self.gone()).await.is_err() {
            self.end(why);
        }
    }

    async fn hear_all(self: &Arc<Self>, wire: &Wire) -> String {
        let mut buffer = Vec::new();
        loop {
            match wire.receive::<ToNode>(&mut buffer).await {
                Ok(Some((message, _))) => {
                    if let Err(why) = self.hear(message) {
                        self.end(&why);
                        return why;
                    }
                }
                Ok(None) => return "its connection ended".to_owned(),
                Err(error) => return format!("its connection broke: {error}"),
            }
        }
    }

    fn hear(self: &Arc<Self>, message: ToNode) -> Result<(), String> {
        match message {
            ToNode::Hello { version } if version != VERSION => {
                return Err(format!("it speaks version {version} of the protocol, this node version {VERSION}"));
            }
            ToNode::Hello { .. } => {}
            ToNode::Survivors(survivors) => self.told_of(survivors)?,
            ToNode::Ports(ports) => {
                ports.into_iter().for_each(|port| self.bound_by_survivor(port, true));
            }
            ToNode::Ready { engine, lacking } => self.ready(&engine, &lacking)?,
            ToNode::Started { container, outcome } => self.started(&container, outcome),
            ToNode::Exited { container, exit } => self.exited(container, exit),
            ToNode::Logged { container, bytes } => self.logged(&container, bytes),
            ToNode::Usage { container, cpu_nanos, memory_bytes } => {
                let known = self.state().containers.get(&container).cloned();
                if let Some(known) = known {
                    known.used(cpu_nanos, memory_bytes);
                }
            }
            ToNode::Bound { port, is_bound } => self.bound(port, is_bound),
            ToNode::Hear { request } => self.tell(&ToSandbox::Heard { request }, Vec::new()),
            ToNode::Connect { request, pod, to } => self.connect(request, pod, to),
            ToNode::Resolve { request, pod, name } => self.resolve(request, pod, name),
            ToNode::Datagram { pod, from, to, payload } => self.send_datagram(pod, from, to, payload),
        }
        Ok(())
    }

    fn ready(&self, engine: &str, lacking: &[String]) -> Result<(), String> {
        if engine != self.engine {
            return Err("it runs code of another release than this node compiles".to_owned());
        }
        for sentence in lacking {
            tracing::warn!(sandbox = %self.name, "not all that should keep guests in is in force: {sentence}");
        }
        self.introduced.cancel();
        Ok(())
    }

    fn started(&self, container: &str, outcome: Result<(), Failure>) {
        let mut state = self.state();
        let waiting = state.starting.remove(container);
        let is_known = waiting.is_some() || state.containers.contains_key(container);
        let is_survivor = state.survivors.keys().any(|(_, id)| id == container);
        drop(state);
        if let Some(waiting) = waiting {
            let _unwanted = waiting.send(outcome);
        } else if !is_known && !is_survivor && outcome.is_ok() {
            // An earlier node has asked for it and did not live to see it start.
            self.kill(container);
        }
    }

    pub(super) fn exited(&self, container: String, exit: WireExit) {
        let mut state = self.state();
        if let Some(survivor) = state.survivors.values_mut().find(|survivor| survivor.id == container) {
            survivor.exit = Some(exit);
            return;
        }
        let ended = state.containers.remove(&container);
        drop(state);
        match ended {
            Some(ended) => ended.end(exit.into()),
            None => self.tell(&ToSandbox::Forget { container }, Vec::new()),
        }
    }

    fn logged(&self, container: &str, bytes: u64) {
        let Some(known) = self.state().containers.get(container).cloned() else { return };
        match known.logs.grown(bytes) {
            Ok(Some(next)) => {
                let log = ToSandbox::Log { container: container.to_owned(), bytes: 0 };
                self.tell(&log, vec![next.into()]);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(sandbox = %self.name, container, %error, "a log cannot be rotated"),
        }
    }
}

impl Holder for Link {
    fn accept(&self, pod: IpAddr, from: SocketAddr, to: SocketAddr, socket: OwnedFd) -> Result<(), DialError> {
        match self.try_tell(&ToSandbox::Accept { pod, from, to }, vec![socket]) {
            Ok(true) => Ok(()),
            _ => Err(DialError::Overloaded),
        }
    }

    fn mixed(&self, pod: IpAddr) {
        self.tell(&ToSandbox::Mixed { pod }, Vec::new());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}
