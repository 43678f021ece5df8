//! `/exec`, `/attach` and `/portForward`, as a kubelet has them: connections that leave HTTP and are a container's from then on,
//! until the certificate that they were opened with is revoked.
//!
//! What is spoken over them is `wherry_streaming`'s matter, what a process or an address is, the runtime's and the network's.

mod command;
mod follow;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use wherry_runtime::{AttachSpec, Attached, Container, ExecError, ExecSpec};
use wherry_streaming::remote_command::{self, Wanted};
use wherry_streaming::{Agreed, Form, IDLE_MAX, Idle, negotiate, port_forward};
use wherry_vnet::Stream;

use super::Peer;
use crate::agent::AgentHandle;
use crate::worker::Worker;
use command::{Process, Until};

/// How many connections to containers there may be at once.
const STREAMS_MAX: usize = 1024;

#[derive(Clone)]
struct Endpoints {
    agent: AgentHandle,
    places: Arc<Semaphore>,
}

type Upgraded = Idle<TokioIo<hyper::upgrade::Upgraded>>;
type Refusal = (StatusCode, String);

/// A container as a path names it.
type Place = Path<(String, String, String)>;
/// Parameters in their order: `command` comes once for each word.
type Words = Query<Vec<(String, String)>>;

/// The paths.
pub fn router(agent: AgentHandle) -> Router {
    let endpoints = Endpoints { agent, places: Arc::new(Semaphore::new(STREAMS_MAX)) };
    Router::new()
        .route("/exec/{namespace}/{pod}/{container}", get(exec).post(exec))
        .route("/attach/{namespace}/{pod}/{container}", get(attach).post(attach))
        .route("/portForward/{namespace}/{pod}", get(forward).post(forward))
        .with_state(endpoints)
}

async fn exec(
    State(endpoints): State<Endpoints>,
    Path(place): Place,
    Query(words): Words,
    request: Request,
) -> Response {
    let wanted = wanted(&words);
    let command = words.iter().filter(|(name, _)| name == "command").map(|(_, word)| word.clone()).collect();
    let spec = ExecSpec { command, tty: wanted.tty, stdin: wanted.stdin, size: None };
    let start = move |container: Arc<dyn Container>| async move { container.exec(spec).await };
    endpoints.command(&place, wanted, Until::Exited, request, |_| start).await
}

async fn attach(
    State(endpoints): State<Endpoints>,
    Path(place): Place,
    Query(words): Words,
    request: Request,
) -> Response {
    let wanted = wanted(&words);
    let spec = AttachSpec { stdin: wanted.stdin, tty: wanted.tty };
    let agent = endpoints.agent.clone();
    let (_, _, name) = place.clone();
    let join = move |worker: Arc<Worker>| {
        move |container: Arc<dyn Container>| async move {
            let has_terminal = worker.fields(&name, |fields| fields.tty == Some(true)).unwrap_or_default();
            let spec = AttachSpec { tty: spec.tty && has_terminal, ..spec };
            match container.attach(spec).await {
                // Its output at least is known.
                Err(ExecError::Unsupported(_)) => follow::join(&agent, &worker, &name, spec, &*container),
                joined => joined,
            }
        }
    };
    endpoints.command(&place, wanted, Until::OutputEnded, request, join).await
}

async fn forward(
    State(endpoints): State<Endpoints>,
    Path((namespace, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    let worker = match endpoints.worker(&namespace, &name) {
        Ok(worker) => worker,
        Err(refusal) => return refusal.into_response(),
    };
    let connect = move |port| {
        let worker = Arc::clone(&worker);
        async move { dial(&worker, port).await }
    };
    let (websocket, spdy) = ([port_forward::TUNNEL_PROTOCOL], [port_forward::PROTOCOL]);
    endpoints.upgrade(request, (&websocket, &spdy), |io, form| port_forward::serve(io, form, connect)).await
}

/// A connection to a port of the pod's localhost; the error is for the client.
async fn dial(worker: &Worker, port: u16) -> Result<Stream, String> {
    let pod = &worker.pod;
    let network = worker.network().ok_or_else(|| format!("pod {} does not run any more", pod.name))?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (namespace, name) = (&pod.namespace, &pod.name);
    let trouble = |error| format!("unable to do port forwarding: {at} in pod {namespace}/{name}: {error}");
    network.connect(at).await.map_err(trouble)
}

impl Endpoints {
    /// A process that a client is to be coupled with, as `start` gives it.
    async fn command<P, S, F>(
        &self,
        (namespace, pod, name): &(String, String, String),
        wanted: Wanted,
        until: Until,
        request: Request,
        prepare: P,
    ) -> Response
    where
        P: FnOnce(Arc<Worker>) -> S,
        S: FnOnce(Arc<dyn Container>) -> F + Send + 'static,
        F: Future<Output = Result<Attached, ExecError>> + Send + 'static,
    {
        let found = self.worker(namespace, pod).and_then(|worker| {
            let missing = || (StatusCode::NOT_FOUND, format!("container not found (\"{name}\")"));
            let container = worker.container(name).ok_or_else(missing)?;
            Ok((worker, container))
        });
        let (worker, container) = match found {
            Ok(found) => found,
            Err(refusal) => return refusal.into_response(),
        };
        let start = prepare(worker);
        let serve = move |io, form| async move {
            let work = |streams| async move {
                Process { started: start(container).await, until, tty: wanted.tty }.couple(streams).await;
            };
            remote_command::serve(io, form, wanted, work).await;
        };
        self.upgrade(request, (&remote_command::PROTOCOLS, &remote_command::PROTOCOLS), serve).await
    }

    fn worker(&self, namespace: &str, pod: &str) -> Result<Arc<Worker>, Refusal> {
        let missing = || (StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found"));
        self.agent.context.named(namespace, pod).ok_or_else(missing)
    }

    /// Agrees with a client on what is spoken, and lets `serve` speak it once HTTP has made way.
    async fn upgrade<S, F>(
        &self,
        mut request: Request,
        (websocket, spdy): (&[&'static str], &[&'static str]),
        serve: S,
    ) -> Response
    where
        S: FnOnce(Upgraded, Form) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Agreed { form, head, .. } = match negotiate(request.method(), request.headers(), websocket, spdy) {
            Ok(agreed) => agreed,
            Err(refused) => return (refused.status(), refused.to_string()).into_response(),
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let message = format!("{STREAMS_MAX} connections to containers are open on this node; try again later");
            return (StatusCode::TOO_MANY_REQUESTS, message).into_response();
        };
        let Some(peer) = request.extensions_mut().remove::<Peer>() else {
            return (StatusCode::UNAUTHORIZED, "nobody knows who asks\n").into_response();
        };
        let upgraded = hyper::upgrade::on(&mut request);
        self.agent.context.drain.spawn(async move {
            let served = async {
                if let Ok(io) = upgraded.await {
                    serve(Idle::new(TokioIo::new(io), IDLE_MAX), form).await;
                }
            };
            tokio::select! {
                () = served => {}
                () = peer.revoked() => {}
            }
            drop(place);
        });
        head.map(|()| Body::empty())
    }
}

/// What a client wants of a container, in a kubelet's words. A terminal has no stderr of its own.
fn wanted(words: &[(String, String)]) -> Wanted {
    let has = |wanted: &str| words.iter().any(|(name, value)| name == wanted && matches!(value.as_str(), "1" | "true"));
    let tty = has("tty");
    Wanted { stdin: has("input"), stdout: has("output"), stderr: has("error") && !tty, tty }
}
