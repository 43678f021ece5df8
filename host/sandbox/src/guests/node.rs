//! The node, as a sandbox sees it: there or not, asked and told.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use wherry_base::Drain;
use wherry_vnet::{DialError, Protocol, Resolution, Way};

use super::locked;
use crate::message::{Dialed, NameError, Refusal, ToNode, WireProtocol};
use crate::wire::{Packet, Wire};

/// How many messages wait for the node. What must not be lost ends the sandbox when there is no room for it: a node that
/// does not read for so long is gone, and one without this sandbox is better than one that knows it wrongly.
const WAITING_MAX: usize = 16_384;

type DialAnswer = Result<Way, DialError>;
type NameAnswer = Result<Vec<IpAddr>, Resolution>;

#[derive(Default)]
pub(crate) struct Node {
    outgoing: Mutex<Option<mpsc::Sender<Packet>>>,
    bound: Mutex<BTreeSet<(WireProtocol, SocketAddr)>>,
    dialing: Mutex<HashMap<u64, oneshot::Sender<DialAnswer>>>,
    resolving: Mutex<HashMap<u64, oneshot::Sender<NameAnswer>>>,
    requests: AtomicU64,
}

impl Node {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A node has come: it is told `hello` and all bound ports before anything else.
    pub(crate) fn connect(&self, wire: Arc<Wire>, hello: &ToNode, drain: &Drain) {
        let (sender, mut waiting) = mpsc::channel::<Packet>(WAITING_MAX);
        let bound = locked(&self.bound);
        *locked(&self.outgoing) = Some(sender);
        self.tell(hello);
        for (protocol, at) in bound.iter() {
            self.tell(&ToNode::Bound { protocol: *protocol, at: *at, is_bound: true });
        }
        drop(bound);
        drain.spawn(async move {
            while let Some(packet) = waiting.recv().await {
                if wire.send(&packet).await.is_err() {
                    return;
                }
            }
        });
    }

    /// The node has gone: what was asked of it is refused.
    pub(crate) fn disconnect(&self) {
        locked(&self.outgoing).take();
        locked(&self.dialing).clear();
        locked(&self.resolving).clear();
    }

    pub(crate) fn is_there(&self) -> bool {
        locked(&self.outgoing).is_some()
    }

    /// Tells what must not be lost. Where no node is there, the next one asks.
    pub(crate) fn tell(&self, message: &ToNode) {
        if self.send(message).is_some_and(|sent| sent.is_err()) {
            tracing::error!("the node does not listen any more: the sandbox ends");
            std::process::exit(1);
        }
    }

    /// Tells what may be lost.
    pub(crate) fn try_tell(&self, message: &ToNode) {
        let _lost = self.send(message);
    }

    fn send(&self, message: &ToNode) -> Option<Result<(), ()>> {
        let outgoing = locked(&self.outgoing).clone()?;
        let packet = Packet::new(message, Vec::new()).map_err(drop);
        Some(packet.and_then(|packet| match outgoing.try_send(packet) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(()),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }))
    }

    pub(crate) fn bound(&self, protocol: Protocol, at: SocketAddr, is_bound: bool) {
        let protocol = protocol.into();
        let mut bound = locked(&self.bound);
        if is_bound {
            bound.insert((protocol, at))
        } else {
            bound.remove(&(protocol, at))
        };
        self.tell(&ToNode::Bound { protocol, at, is_bound });
    }

    pub(crate) async fn connect_to(&self, pod: IpAddr, to: SocketAddr) -> DialAnswer {
        let (answer, answered) = oneshot::channel();
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        locked(&self.dialing).insert(request, answer);
        self.try_tell(&ToNode::Connect { request, pod, to });
        if !self.is_there() {
            locked(&self.dialing).remove(&request);
        }
        answered.await.unwrap_or(Err(DialError::Unreachable))
    }

    pub(crate) async fn resolve(&self, pod: IpAddr, name: &str) -> NameAnswer {
        let (answer, answered) = oneshot::channel();
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        locked(&self.resolving).insert(request, answer);
        self.try_tell(&ToNode::Resolve { request, pod, name: name.to_owned() });
        if !self.is_there() {
            locked(&self.resolving).remove(&request);
        }
        answered.await.unwrap_or(Err(Resolution::Missing))
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
