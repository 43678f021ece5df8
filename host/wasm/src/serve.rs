//! HTTP modules: a fresh instance for each request, none while idle.
//!
//! The ingress of this node hands requests over as they are; everybody else connects to the pod's port, where
//! HTTP/1.1 is spoken. A trap fails its request; running out of memory ends the container, as it would a process.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::channel::oneshot;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::handler::{Prepared, ProxyPre};
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView};
use wherry_runtime::{ContainerSpec, Exit, ExitReason};
use wherry_vnet::{Body, BoxError, HttpHandler, Listener, Stream};

use crate::command::prepare;
use crate::container::{Resources, exited, failed};
use crate::state::State;
use crate::throttle::Throttled;

const HEAD_MOST: Duration = Duration::from_secs(10);
/// How many connections of others than the ingress a container serves at once.
const CONNECTIONS_MAX: usize = 4096;

/// One container's module, ready to answer.
pub(crate) struct Service {
    pub(crate) pre: ProxyPre<State>,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) spec: Arc<ContainerSpec>,
    pub(crate) resources: Resources,
    /// Instances of the whole process: requests wait here while the pool is full.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) handle: Handle,
    pub(crate) requests: TaskTracker,
    /// Cancelled when the container is no more: all that runs for it is dropped.
    pub(crate) killed: CancellationToken,
    /// Set when the container must end before it is asked to.
    pub(crate) ruin: watch::Sender<Option<Exit>>,
}

/// A response's body; when the client has taken it, or has gone, the guest learns of it.
struct Held {
    body: WasiBody,
    _taken: oneshot::Sender<()>,
}

impl http_body::Body for Held {
    type Data = bytes::Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, HttpError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the container is stopping")]
    Stopping,
    #[error("the module ended without an answer")]
    Silent,
}

/// A request without an answer, as hyper takes it: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(BoxError);

#[async_trait]
impl HttpHandler for Service {
    async fn handle(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
        if self.requests.is_closed() {
            return Err(NoAnswer::Stopping.into());
        }
        let place = Arc::clone(&self.places).acquire_owned().await?;
        let (answer, answered) = oneshot::channel();
        let (taken, body_taken) = oneshot::channel();
        let guest = self.guest(request.map(|body| body.map_err(lost).boxed_unsync()), answer, body_taken);
        let (spec, ruin) = (Arc::clone(&self.spec), self.ruin.clone());
        let guest = self.requests.track_future(async move {
            if let Err(error) = guest.await {
                let exit = failed(&spec, &error);
                if exit.reason == ExitReason::OomKilled {
                    ruin.send_replace(Some(exit));
                }
            }
            drop(place);
        });
        // A container that is killed takes its requests with it, and so does a caller that goes before the answer.
        let unwanted = self.killed.child_token();
        let caller = unwanted.clone().drop_guard();
        self.handle.spawn(async move {
            tokio::select! {
                () = unwanted.cancelled() => {}
                () = guest => {}
            }
        });
        let outcome = answered.await;
        caller.disarm();
        let response = outcome.map_err(|_| NoAnswer::Silent)??;
        Ok(response.map(|body| Held { body, _taken: taken }.map_err(broken).boxed_unsync()))
    }
}

impl Service {
    /// One request in an instance of its own.
    fn guest(
        &self,
        request: http::Request<WasiBody>,
        answer: oneshot::Sender<wasmtime::Result<http::Response<WasiBody>>>,
        body_taken: oneshot::Receiver<()>,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + 'static {
        let state = State::new(&self.spec, &self.resources.memory, self.killed.clone());
        let pre = clone(&self.pre);
        let engine = self.engine.clone();
        let run = async move {
            let mut store = Store::new(&engine, state.map_err(|e| wasmtime::format_err!("{e}"))?);
            prepare(&mut store);
            store.limiter(|state| &mut state.share);
            let proxy = pre.instantiate_async(&mut store).await?;
            let prepared = Prepared::new(store.as_context_mut(), &proxy, request, State::http, answer)?;
            let is_p3 = matches!(pre, ProxyPre::P3(_));
            let work = async |accessor: &wasmtime::component::Accessor<State>| {
                let sent = prepared.run(accessor, std::future::pending()).await;
                if is_p3 {
                    // What a guest of WASI 0.3 still writes is driven here until the client has taken it.
                    let _dropped = body_taken.await;
                }
                sent
            };
            store.run_concurrent(work).await??;
            Ok(())
        };
        Throttled::new(run, Arc::clone(&self.resources.cpu))
    }
}

/// Serves until the container is stopped or ruined; resolves when the requests under way have ended.
pub(crate) async fn serve(service: Arc<Service>, mut listener: Listener, stopping: CancellationToken) -> Exit {
    let mut ruined = service.ruin.subscribe();
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let _ends_all = service.killed.clone().drop_guard();
    let (exit, is_ruined) = loop {
        tokio::select! {
            () = stopping.cancelled() => break (exited(0), false),
            changed = ruined.wait_for(Option::is_some) => {
                break (changed.ok().and_then(|exit| exit.clone()).unwrap_or_else(|| exited(1)), true);
            }
            accepted = listener.accept() => {
                let Some(stream) = accepted else { break (exited(0), false) };
                let Ok(place) = Arc::clone(&connections).try_acquire_owned() else { continue };
                let (own, stopping) = (Arc::clone(&service), stopping.clone());
                let killed = service.killed.clone();
                service.handle.spawn(async move {
                    tokio::select! {
                        () = killed.cancelled() => {}
                        () = speak(own, stream, stopping) => {}
                    }
                    drop(place);
                });
            }
        }
    };
    drop(listener);
    service.requests.close();
    // Out of memory is the end of a process: only a graceful stop lets requests finish.
    if !is_ruined {
        service.requests.wait().await;
    }
    exit
}

/// HTTP/1.1 over a connection to the pod's port.
async fn speak(service: Arc<Service>, stream: Stream, stopping: CancellationToken) {
    let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = Arc::clone(&service);
        async move {
            let request = request.map(|body| body.map_err(broken).boxed_unsync());
            service.handle(request).await.map_err(Refused)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MOST);
    let connection = builder.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}

fn clone(pre: &ProxyPre<State>) -> ProxyPre<State> {
    match pre {
        ProxyPre::P2(pre) => ProxyPre::P2(pre.clone()),
        ProxyPre::P3(pre) => ProxyPre::P3(pre.clone()),
    }
}

/// A body that broke off, as the pod network's errors are.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> BoxError {
    Box::new(error)
}

/// The client's part of a body broke off.
fn lost(_: BoxError) -> HttpError {
    HttpError::ConnectionTerminated
}
