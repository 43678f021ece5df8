//! A master: its member of the store, its API, and the controllers while it leads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Collected};
use serde_json::json;
use tokio::sync::mpsc;
use wherry_api::routes::MASTERS;
use wherry_api::{Error, NodeLease, ObjectKey};
use wherry_apiserver::{
    DefaultTolerations, HttpApi, Identity, Masters, NoAnswer, Readiness, Registry, RegistryConfig, ServeConfig,
};
use wherry_base::{Clock, Drain, Trigger};
use wherry_client::{RawWatch, Request, Verb};
use wherry_controllers::{ControllersConfig, NodeMonitor};
use wherry_pki::Authority;
use wherry_store::{Leadership, Limits, Member, Seat, Start, Store, Transport, TransportError};

use crate::bug::Bug;
use crate::disk::Disk;
use crate::net::{Answer, Host, Letter, Lost, Message, Port, Tape};
use crate::process::Process;

/// How long a node may be silent.
pub const NODE_GRACE: Duration = Duration::from_secs(2);

/// How long pods bear a troubled node.
const TOLERATION_SECONDS: u32 = 1;

/// How many events of a watch are on their way.
const TAPE_EVENTS_MAX: usize = 256;

/// How long to wait before what failed is tried again.
const REST: Duration = Duration::from_millis(200);

/// How long a master that is to be admitted waits for an answer.
const ADMISSION_PATIENCE: Duration = Duration::from_secs(10);

const CERTIFICATE_LIFE: Duration = Duration::from_hours(24);

/// What a master is started from.
pub struct Parts {
    pub port: Port,
    pub letters: mpsc::Receiver<Letter>,
    pub disk: Disk,
    pub start: Start,
    pub authority: Arc<Authority>,
    pub bug: Option<Bug>,
}

/// Starts a master in a process of its own.
pub fn start(process: &Process, parts: Parts) -> anyhow::Result<Store> {
    let Parts { port, letters, disk, start, authority, bug } = parts;
    let address = port.host.to_string();
    let transport = Arc::new(Wire(port.clone()));
    let runtime = Some(process.runtime().handle().clone());
    let seat = Seat { name: address.clone(), address, transport, start, runtime };
    // Small, so that logs are cut, histories end, and members get snapshots.
    let limits = Limits { checkpoint_objects: 16, log_groups_kept: 64, ..Limits::default() };
    process.with(|| {
        let store = Store::open_on(Arc::new(disk), limits, seat)?;
        let registry = Registry::new(store.clone(), config(&port), port.times.clock());
        let drain = Trigger::new().drain();
        let clock = port.times.clock();
        drain.spawn(lead(store.clone(), registry.clone(), authority, clock));
        let http = HttpApi::new(registry.clone(), &serving(), drain.clone());
        let api = Arc::new(Api { store: store.clone(), registry, http, port, drain: drain.clone(), bug });
        drain.spawn(serve(api, letters));
        Ok(store)
    })
}

/// A master whose store is empty asks for the place of the one that had its name, and is gone, until it has it.
pub fn ask_for_place(process: &Process, port: &Port, masters: usize, store: &Store) {
    let (me, members, wire) = (store.me(), store.members(), Wire(port.clone()));
    process.with(|| {
        Trigger::new().drain().spawn(async move {
            for asked in (0..masters).cycle() {
                if members.borrow().iter().any(|(member, _)| member.id == me.id) {
                    return;
                }
                let asked = Host::Master(asked).to_string();
                let admitted = wire.ask(&asked, admission(&me));
                let _not_yet = tokio::time::timeout(ADMISSION_PATIENCE, admitted).await;
                tokio::time::sleep(REST).await;
            }
        });
    });
}

/// As `wherry master --join --replace` asks.
fn admission(me: &Member) -> http::Request<Bytes> {
    let Member { id, name, address } = me;
    let body = json!({"id": id, "name": name, "address": address, "replaces": name}).to_string();
    let mut request = http::Request::new(body.into());
    (*request.method_mut(), *request.uri_mut()) = (http::Method::POST, http::Uri::from_static(MASTERS));
    request.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    request
}

/// A master that leads lets another one lead.
pub fn hand_over(process: &Process, store: Store) {
    process.with(|| {
        Trigger::new().drain().spawn(async move {
            let _nobody_else = store.hand_over_leadership().await;
        });
    });
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

fn config(port: &Port) -> RegistryConfig {
    RegistryConfig {
        masters: Some(Arc::new(Wire(port.clone()))),
        cluster_info: [(NodeLease::KEY.to_owned(), NodeLease::of(NODE_GRACE).text())].into(),
        tolerations: DefaultTolerations {
            not_ready_seconds: TOLERATION_SECONDS,
            unreachable_seconds: TOLERATION_SECONDS,
        },
        ..RegistryConfig::default()
    }
}

/// No connection here has TLS, and nobody asks for logs or images.
fn serving() -> ServeConfig {
    let roots = rustls::RootCertStore::empty();
    let kubelet_tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let nobody = Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
    ServeConfig {
        tls: Arc::new(rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(nobody)),
        kubelet_tls: Arc::new(kubelet_tls),
        advertise_url: String::new(),
        readiness: Readiness::default(),
        images: axum::Router::new(),
        master_keys: Bytes::new(),
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

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the wire of {}", self.0.host)
    }
}

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

#[async_trait]
impl Masters for Wire {
    async fn ask(&self, address: &str, request: http::Request<Bytes>) -> Result<http::Response<Body>, NoAnswer> {
        let no_answer = |why: &str, is_unsent| NoAnswer { address: address.to_owned(), why: why.to_owned(), is_unsent };
        let host = Host::master(address).ok_or_else(|| no_answer("no such host", true))?;
        match self.0.ask(host, Message::Http(request)).await {
            Ok(Answer::Http(answer)) => Ok(answer.map(Body::from)),
            Ok(_) => Err(no_answer("an answer to another question", false)),
            Err(Lost { is_unsent }) => Err(no_answer("lost", is_unsent)),
        }
    }
}

/// What a master answers.
struct Api {
    store: Store,
    registry: Registry,
    http: HttpApi,
    port: Port,
    drain: Drain,
    bug: Option<Bug>,
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
                let opened = transport.transport().watch(resource, namespace, options).await;
                Answer::Watch(opened.map(|events| self.tape(from, events)))
            }
            Message::Http(request) => {
                let answer = self.http.answer(Identity::master(&from.to_string()), request).await;
                let (parts, body) = answer.into_parts();
                let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
                Answer::Http(http::Response::from_parts(parts, body))
            }
        }
    }

    async fn call(&self, identity: Identity, request: Request) -> Result<Bytes, Error> {
        if matches!(request.verb, Verb::Get) && self.bug == Some(Bug::OldRead) {
            return self.show(&request);
        }
        self.registry.client(identity).transport().send(request).await
    }

    /// An object as it stands here.
    fn show(&self, request: &Request) -> Result<Bytes, Error> {
        let key = ObjectKey::new(request.namespace.as_deref().unwrap_or_default(), &request.name);
        let entry = self.store.snapshot(request.resource).objects.get(&key).cloned();
        entry.map(|entry| entry.json.clone()).ok_or_else(|| request.resource.not_found(&request.name))
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
