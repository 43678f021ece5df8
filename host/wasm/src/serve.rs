//! HTTP modules: a fresh instance for each request, none while idle.
//!
//! The ingress of this node hands requests over as they are; everybody else connects to the pod's port, where
//! HTTP/1.1 is spoken. A trap fails its request (and ends its connection); running out of memory ends the container, as it
//! would a process.

use std::io;
use std::pin::pin;
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
use wherry_vnet::{Body, BoxError, HttpHandler, Listener, Stream, Unanswered};

use crate::container::{Resources, exited, failed};
use crate::linger::Lingering;
use crate::places::{Place, RequestPlaces};
use crate::request::{self, Exchange, Guest};
use crate::state::State;
use crate::throttle::Throttled;

const HEAD_MOST: Duration = Duration::from_secs(10);
/// How many connections of others than the ingress a container serves at once.
const CONNECTIONS_MAX: u32 = 4096;

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

/// A service as the ingress calls it.
pub(crate) struct Handler(pub(crate) Arc<Service>);

#[async_trait]
impl HttpHandler for Handler {
    async fn handle(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Unanswered> {
        self.0.answer(request).await
    }
}

impl Service {
    async fn answer(self: &Arc<Self>, request: http::Request<Body>) -> Result<http::Response<Body>, Unanswered> {
        let unseen = |request| Err(Unanswered::Unseen(Box::new(request)));
        if self.requests.is_closed() {
            return unseen(request);
        }
        let Some(place) = self.places.take().await else { return unseen(request) };
        let (exchange, awaited) = request::exchange();
        let guest = self.guest(place, request.map(|body| body.map_err(lost).boxed_unsync()), exchange)?;
        Ok(request::answer(guest, awaited, &self.handle).await?)
    }

    /// One request's guest, until it ends or its container is killed.
    fn guest(
        self: &Arc<Self>,
        place: Place,
        request: http::Request<WasiBody>,
        exchange: Exchange,
    ) -> Result<Guest, StartError> {
        let state = State::new(&self.spec, &self.resources, self.killed.clone())?;
        let own = Arc::clone(self);
        Ok(Box::pin(self.requests.track_future(async move {
            // Named first and so dropped last: the place is free when the instance is gone.
            let _place = place;
            let run = pin!(request::run(&own.pre, state, request, exchange));
            tokio::select! {
                biased;
                ended = Throttled::new(run, &own.resources.cpu) => ended.inspect_err(|error| own.fail(error)).is_ok(),
                () = own.killed.cancelled() => false,
            }
        })))
    }

    /// A request's guest ended in an error.
    fn fail(&self, error: &wasmtime::Error) {
        let exit = failed(&self.spec, error);
        if exit.reason == ExitReason::OomKilled {
            self.ruin.send_replace(Some(exit));
        }
    }
}

/// Serves until the container is stopped or ruined; resolves when the requests under way have ended.
pub(crate) async fn serve(service: Arc<Service>, mut listener: Listener, stopping: CancellationToken) -> Exit {
    let mut ruined = service.ruin.subscribe();
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
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
        // Their answers may not be sent yet: each connection ends with the one it is at.
        let _all_ended = connections.acquire_many(CONNECTIONS_MAX).await;
    }
    exit
}

/// HTTP/1.1 over a connection to the pod's port.
async fn speak(service: Arc<Service>, stream: Stream, stopping: CancellationToken) {
    let until = stopping.clone();
    let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (service, until) = (Arc::clone(&service), until.clone());
        // Without an answer the connection ends, as it does with a process: whoever asked learns the same in all isolations.
        async move {
            let request = request
                .map(|body| Lingering::new(body, service.handle.clone(), until).map_err(BoxError::from).boxed_unsync());
            service.answer(request).await.map_err(|unanswered| io::Error::other(unanswered.to_string()))
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

/// The client's part of a body broke off.
fn lost(_: BoxError) -> HttpError {
    HttpError::ConnectionTerminated
}
