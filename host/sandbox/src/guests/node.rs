//! The node, as a sandbox sees it: there or not, asked and told.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use wherry_base::Drain;
use wherry_vnet::{DialError, Resolution, Way};

use super::locked;
use crate::message::{Dialed, NameError, PORTS_A_MESSAGE, Port, Refusal, ToNode};
use crate::wire::{Packet, Wire};

/// How many messages wait for the node. What must not be lost ends the sandbox when there is no room for it: a node that
/// does not read for so long is gone, and one without this sandbox is better than one that knows it wrongly.
const WAITING_MAX: usize = 16_384;

/// How long a guest waits for a node that is not there, or does not know its pod yet, before what it asks is refused.
const NODE_PATIENCE: Duration = Duration::from_secs(10);

type DialAnswer = Result<Way, DialError>;
type NameAnswer = Result<Vec<IpAddr>, Resolution>;
type Waiting<T> = Mutex<HashMap<u64, oneshot::Sender<T>>>;

#[derive(Default)]
pub(crate) struct Node {
    outgoing: Mutex<Option<mpsc::Sender<Packet>>>,
    /// The addresses of the pods that the present node knows.
    known: watch::Sender<HashSet<IpAddr>>,
    /// Those that have Linux containers.
    mixed: Mutex<HashSet<IpAddr>>,
    bound: Mutex<BTreeSet<Port>>,
    hearing: Waiting<()>,
    dialing: Waiting<DialAnswer>,
    resolving: Waiting<NameAnswer>,
    requests: AtomicU64,
}

impl Node {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A node has come: before anything else it is told these words, the ports that are bound, and the last word.
    pub(crate) fn connect(&self, wire: Arc<Wire>, mut words: Vec<ToNode>, last: ToNode, drain: &Drain) {
        // Held until the node is there, so that it hears of each change after this once.
        let bound = locked(&self.bound);
        let ports: Vec<_> = bound.iter().copied().collect();
        words.extend(ports.chunks(PORTS_A_MESSAGE).map(|some| ToNode::Ports(some.to_vec())));
        words.push(last);
        let (sender, mut waiting) = mpsc::channel::<Packet>(WAITING_MAX + words.len());
        let mut outgoing = locked(&self.outgoing);
        *outgoing = Some(sender);
        words.iter().for_each(|word| tell_or_end(outgoing.as_ref(), word));
        drop((outgoing, bound));
        drain.spawn(async move {
            while let Some(packet) = waiting.recv().await {
                if wire.send(&packet).await.is_err() {
                    return;
                }
            }
        });
    }

    /// The node has gone: what was asked of it is asked of the next one.
    pub(crate) fn disconnect(&self) {
        locked(&self.outgoing).take();
        self.known.send_modify(HashSet::clear);
        locked(&self.mixed).clear();
        locked(&self.hearing).clear();
        locked(&self.dialing).clear();
        locked(&self.resolving).clear();
    }

    /// The node knows this pod from now on, and answers what it asks.
    pub(crate) fn knows(&self, pod: IpAddr) {
        self.known.send_if_modified(|known| known.insert(pod));
    }

    /// The pod has Linux containers.
    pub(crate) fn mixed(&self, pod: IpAddr) {
        locked(&self.mixed).insert(pod);
    }

    pub(crate) fn is_mixed(&self, pod: IpAddr) -> bool {
        locked(&self.mixed).contains(&pod)
    }

    /// Resolves when the node has done what it was told before.
    pub(crate) async fn is_heard(&self, pod: IpAddr) {
        let _late = self.ask(pod, &self.hearing, |request| ToNode::Hear { request }).await;
    }

    pub(crate) fn heard(&self, request: u64) {
        if let Some(answer) = locked(&self.hearing).remove(&request) {
            let _unwanted = answer.send(());
        }
    }

    /// Tells what must not be lost. Where no node is there, the next one asks.
    pub(crate) fn tell(&self, message: &ToNode) {
        let node = locked(&self.outgoing).clone();
        tell_or_end(node.as_ref(), message);
    }

    /// Tells what may be lost. Whether there was room for it; `None` where there is no node.
    pub(crate) fn try_tell(&self, message: &ToNode) -> Option<bool> {
        let node = locked(&self.outgoing).clone()?;
        Some(send(&node, message))
    }

    pub(crate) fn bound(&self, port: Port, is_bound: bool) {
        let mut bound = locked(&self.bound);
        if is_bound {
            bound.insert(port)
        } else {
            bound.remove(&port)
        };
        self.tell(&ToNode::Bound { port, is_bound });
    }

    pub(crate) async fn connect_to(&self, pod: IpAddr, to: SocketAddr) -> DialAnswer {
        let answer = self.ask(pod, &self.dialing, |request| ToNode::Connect { request, pod, to });
        answer.await.unwrap_or(Err(DialError::Unreachable))
    }

    pub(crate) async fn resolve(&self, pod: IpAddr, name: &str) -> NameAnswer {
        let question = |request| ToNode::Resolve { request, pod, name: name.to_owned() };
        self.ask(pod, &self.resolving, question).await.unwrap_or(Err(Resolution::Missing))
    }

    /// Asks the node, and the next one where this one goes before it has answered. `None`: nobody answers in time.
    async fn ask<T>(&self, pod: IpAddr, waiting: &Waiting<T>, question: impl Fn(u64) -> ToNode) -> Option<T> {
        let mut known = self.known.subscribe();
        loop {
            let is_known = known.wait_for(|known| known.contains(&pod));
            tokio::time::timeout(NODE_PATIENCE, is_known).await.ok()?.ok()?;
            let (answer, answered) = oneshot::channel();
            let request = self.requests.fetch_add(1, Ordering::Relaxed);
            locked(waiting).insert(request, answer);
            match self.try_tell(&question(request)) {
                Some(true) => {}
                Some(false) => {
                    locked(waiting).remove(&request);
                    return None;
                }
                None => drop(locked(waiting).remove(&request)),
            }
            if let Ok(answer) = answered.await {
                return Some(answer);
            }
        }
    }

    pub(crate) fn dialed(&self, request: u64, outcome: Result<Dialed, Refusal>, socket: Option<OwnedFd>) {
        let Some(answer) = locked(&self.dialing).remove(&request) else { return };
        let way = match (outcome, socket) {
            (Ok(Dialed::Here(at)), _) => Ok(Way::Here(at)),
            (Ok(Dialed::Connected { local, peer }), Some(socket)) => Ok(Way::Socket { socket, local, peer }),
            (Ok(Dialed::Connected { .. }), None) => Err(DialError::Unreachable),
            (Err(refusal), _) => Err(refusal.into()),
        };
        // Dropped where the guest does not wait any more: the other end sees that.
        let _unwanted = answer.send(way);
    }

    pub(crate) fn resolved(&self, request: u64, outcome: Result<Vec<IpAddr>, NameError>) {
        if let Some(answer) = locked(&self.resolving).remove(&request) {
            let _unwanted = answer.send(outcome.map_err(Into::into));
        }
    }
}

fn tell_or_end(node: Option<&mpsc::Sender<Packet>>, message: &ToNode) {
    if node.is_some_and(|node| !send(node, message)) {
        tracing::error!("the node does not listen any more: the sandbox ends");
        std::process::exit(1);
    }
}

/// Whether there was room for it, or nobody is there to read it.
fn send(node: &mpsc::Sender<Packet>, message: &ToNode) -> bool {
    let Ok(packet) = Packet::new(message, Vec::new()) else { return false };
    !matches!(node.try_send(packet), Err(mpsc::error::TrySendError::Full(_)))
}
