//! A master: its member of the store, its API, and the controllers while it leads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use wherry_api::{Error, NodeLease, Reason};
use wherry_apiserver::{DefaultTolerations, Identity, Registry, RegistryConfig};
use wherry_base::{Clock, Drain, Trigger};
use wherry_client::{RawWatch, Request, Verb};
use wherry_controllers::{ControllersConfig, NodeMonitor};
use wherry_pki::Authority;
use wherry_store::{Leadership, Limits, Member, Seat, Start, Store, Transport, TransportError};

use crate::disk::Disk;
use crate::net::{Answer, Host, Letter, Message, Port, Tape};
use crate::process::Process;

/// How long a node may be silent.
pub const NODE_GRACE: Duration = Duration::from_secs(2);

/// How long pods bear a troubled node.
const TOLERATION_SECONDS: u32 = 1;

/// How many events of a watch are on their way.
const TAPE_EVENTS_MAX: usize = 256;

/// How long to wait before what failed is tried again.
const REST: Duration = Duration::from_millis(200);

const CERTIFICATE_LIFE: Duration = Duration::from_hours(24);

/// What a master is started from.
pub struct Parts {
    pub port: Port,
    pub letters: mpsc::Receiver<Letter>,
    pub disk: Disk,
    pub start: Start,
    pub authority: Arc<Authority>,
}

/// Starts a master in a process of its own.
pub fn start(process: &Process, parts: Parts) -> anyhow::Result<Store> {
    let Parts { port, letters, disk, start, authority } = parts;
    let address = port.host.to_string();
    let transport = Arc::new(Wire(port.clone()));
    let runtime = Some(process.runtime().handle().clone());
    let seat = Seat { name: address.clone(), address, transport, start, runtime };
    // Small, so that logs are cut, histories end, and members get snapshots.
    let limits = Limits { checkpoint_objects: 16, log_groups_kept: 64, ..Limits::default() };
    process.with(|| {
        let store = Store::open_on(Arc::new(disk), limits, seat)?;
        let registry = Registry::new(store.clone(), config(), port.times.clock());
        let drain = Trigger::new().drain();
        let clock = port.times.clock();
        drain.spawn(lead(store.clone(), registry.clone(), authority, clock));
        let api = Arc::new(Api { store: store.clone(), registry, port, drain: drain.clone() });
        drain.spawn(serve(api, letters));
        Ok(store)
    })
}

/// Makes others members, one after the other.
pub fn form(process: &Process, store: Store, others: Vec<Member>) {
    let drain = process.with(|| Trigger::new().drain());
    process.with(|| {
        drain.spawn(async move {
            for member in others {
                while store.add_member(member.clone()).await.is_err() {
                    tokio::time::sleep(REST).await;
                }
            }
        });
    });
}

fn config() -> RegistryConfig {
    RegistryConfig {
        cluster_info: [(NodeLease::KEY.to_owned(), NodeLease::of(NODE_GRACE).text())].into(),
        tolerations: DefaultTolerations {
            not_ready_seconds: TOLERATION_SECONDS,
            unreachable_seconds: TOLERATION_SECONDS,
        },
        ..RegistryConfig::default()
    }
}

/// Controls while this master leads.
async fn lead(store: Store, registry: Registry, authority: Arc<Authority>, clock: Arc<dyn Clock>) {
    let mut leadership = store.leadership();
    loop {
        if leadership.wait_for(|now| *now == Leadership::Leader).await.is_err() {
            return;
        }
        let tasks = Trigger::new();
        let control = control(&registry, &authority, &clock, tasks.drain());
        let deposed = leadership.wait_for(|now| *now != Leadership::Leader);
        tokio::select! {
            () = control => {}
            _ = deposed => {}
        }
        tasks.stop(REST).await;
    }
}

/// Never ends.
async fn control(registry: &Registry, authority: &Arc<Authority>, clock: &Arc<dyn Clock>, drain: Drain) {
    while registry.bootstrap().await.is_err() {
        tokio::time::sleep(REST).await;
    }
    let config = ControllersConfig {
        authority: Arc::clone(authority),
        certificate_life: CERTIFICATE_LIFE,
        ingress_address: std::net::Ipv4Addr::LOCALHOST.into(),
        nodes: NodeMonitor { lease: NodeLease::of(NODE_GRACE), ..NodeMonitor::default() },
    };
    let client = registry.leader_client(Identity::component("kube-controller-manager"));
    wherry_controllers::start(client, config, Arc::clone(clock), &drain);
    std::future::pending().await
}

/// The way to other masters.
struct Wire(Port);

#[async_trait]
impl Transport for Wire {
    async fn send(&self, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
        let host = Host::master(&to.address).ok_or_else(|| TransportError("no such host".into()))?;
        match self.0.ask(host, Message::Member(message)).await {
            Ok(Answer::Member(answer)) => Ok(answer),
            _ => Err(TransportError("lost".into())),
        }
    }
}

/// What a master answers.
struct Api {
    store: Store,
    registry: Registry,
    port: Port,
    drain: Drain,
}

async fn serve(api: Arc<Api>, mut letters: mpsc::Receiver<Letter>) {
    while let Some(letter) = letters.recv().await {
        let own = Arc::clone(&api);
        api.drain.spawn(async move {
            own.port.times.until(letter.due).await;
            let (from, message, reply) = letter.open();
            let answer = own.answer(from, message).await;
            own.port.answer(from, reply, answer);
        });
    }
}

impl Api {
    async fn answer(&self, from: Host, message: Message) -> Answer {
        match message {
            Message::Member(message) => Answer::Member(self.store.receive(message).await),
            Message::Call(identity, request) => Answer::Call(self.call(identity, request).await),
            Message::Watch(identity, resource, namespace, options) => {
                let transport = self.registry.client(identity);
                let opened = match self.store.readable(resource) {
                    Ok(()) => transport.transport().watch(resource, namespace, options).await,
                    Err(error) => Err(Error::new(Reason::ServiceUnavailable, error.to_string())),
                };
                Answer::Watch(opened.map(|events| self.tape(from, events)))
            }
        }
    }

    async fn call(&self, identity: Identity, request: Request) -> Result<Bytes, Error> {
        let unavailable = |error: &dyn std::fmt::Display| Error::new(Reason::ServiceUnavailable, error.to_string());
        let is_read = matches!(request.verb, Verb::Get | Verb::List(_));
        self.store.readable(request.resource).map_err(|error| unavailable(&error))?;
        if !is_read && *self.store.leadership().borrow() != Leadership::Leader {
            return Err(unavailable(&"another master leads"));
        }
        self.store.linearizable().await.map_err(|error| unavailable(&error))?;
        self.registry.client(identity).transport().send(request).await
    }

    /// Sends the events of a watch, in order, until one does not pass: that breaks the connection.
    fn tape(&self, to: Host, mut events: RawWatch) -> Tape {
        let (sender, tape) = mpsc::channel(TAPE_EVENTS_MAX);
        let port = self.port.clone();
        self.drain.spawn(async move {
            let mut last = Duration::ZERO;
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sender.closed() => return,
                };
                let (Some(event), Some(due)) = (event, port.arrival(to)) else { return };
                last = last.max(due);
                if sender.send((last, event)).await.is_err() {
                    return;
                }
            }
        });
        tape
    }
}
