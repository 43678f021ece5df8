//! HTTP modules: a fresh instance for each request, none while idle.
//!
//! The ingress of this node hands requests over as they are; everybody else connects to the pod's port, where
//! HTTP/1.1 is spoken. A trap fails its request (and ends its connection); running out of memory ends the container, as it would a process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};
use wherry_runtime::{ContainerSpec, Exit, ExitReason, StartError};
use wherry_vnet::{Body, BoxError, HttpHandler, Listener, Stream};

use crate::container::{Resources, exited, failed};
use crate::places::{Place, RequestPlaces};
use crate::request::{self, Exchange, Guest, NoAnswer};
use crate::state::State;
use crate::throttle::Throttled;

const HEAD_MOST: Duration = Duration::from_secs(10);
/// How many connections of others than the ingress a container serves at once.
const CONNECTIONS_MAX: usize = 4096;

/// One container's module, ready to answer.
pub(crate) struct Service {
    pub(crate) pre: ProxyPre<State>,
    pub(crate) spec: Arc<ContainerSpec>,
    pub(crate) resources: Resources,
    pub(crate) places: RequestPlaces,
    pub(crate) handle: Handle,
    pub(crate) requests: TaskTracker,
    /// Cancelled when the container is no more: all that runs for it is dropped.
    pub(crate) killed: CancellationToken,
    /// Set when the container must end before it is asked to.
    pub(crate) ruin: watch::Sender<Option<Exit>>,
}

#[async_trait]
impl HttpHandler for Service {
    async fn handle(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
        if self.requests.is_closed() {
            return Err(NoAnswer::Stopping.into());
        }
        let place = self.places.take().await.ok_or(NoAnswer::Stopping)?;
        let (exchange, awaited) = request::exchange();
        let guest = self.guest(place, request.map(|body| body.map_err(lost).boxed_unsync()), exchange)?;
        Ok(request::answer(guest, awaited, &self.handle).await?)
    }
}

impl Service {
    /// One request's guest, until it ends or its container is killed.
    fn guest(&self, place: Place, request: http::Request<WasiBody>, exchange: Exchange) -> Result<Guest, StartError> {
        let state = State::new(&self.spec, &self.resources.memory, self.killed.clone())?;
        let (pre, spec, ruin) = (clone(&self.pre), Arc::clone(&self.spec), self.ruin.clone());
        let cpu = Arc::clone(&self.resources.cpu);
        let killed = self.killed.clone().cancelled_owned();
        Ok(Box::pin(self.requests.track_future(async move {
            let run = Throttled::new(request::run(&pre, state, request, exchange), cpu);
            let ended = tokio::select! {
                biased;
                ended = run => ended.inspect_err(|error| {
                    let exit = failed(&spec, error);
                    if exit.reason == ExitReason::OomKilled {
                        ruin.send_replace(Some(exit));
                    }
                }).is_ok(),
                () = killed => false,
            };
            drop(place);
            ended
        })))
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
        // Without an answer the connection ends, as it does with a process: whoever asked learns the same in all isolations.
        async move {
            let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            service.handle(request).await.map_err(io::Error::other)
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

/// The client's part of a body broke off.
fn lost(_: BoxError) -> HttpError {
    HttpError::ConnectionTerminated
}
