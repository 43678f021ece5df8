//! One request in an instance of its own, run by whoever waits for it: first by the caller that wants the head of the
//! answer, then by the body as it is read, and by a task only where the guest outlives its answer.
//!
//! So a short request costs no task and wakes no other thread.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::handler::{Prepared, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};
use wherry_vnet::{Body, BoxError};

use crate::command::prepare;
use crate::state::State;

/// How long a guest may run on when its answer has been read or its caller has gone.
const LINGER_MOST: Duration = Duration::from_secs(30);

/// The rest of a request's guest, with all that it holds. It says whether it ended well.
pub(crate) type Guest = Pin<Box<dyn Future<Output = bool> + Send>>;

type Answer = wasmtime::Result<http::Response<WasiBody>>;

/// A guest's two channels to its caller: what it answers, and whether the answer's body is still wanted.
pub(crate) struct Exchange {
    answer: oneshot::Sender<Answer>,
    body_taken: oneshot::Receiver<()>,
}

/// The caller's ends.
pub(crate) struct Awaited {
    answered: oneshot::Receiver<Answer>,
    taken: oneshot::Sender<()>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the module ended without an answer")]
    Silent,
    #[error("the module ended in the middle of its answer")]
    Cut,
    #[error("the module's answer is an error: {0}")]
    Error(String),
}

/// The ends of one exchange.
pub(crate) fn exchange() -> (Exchange, Awaited) {
    let (answer, answered) = oneshot::channel();
    let (taken, body_taken) = oneshot::channel();
    (Exchange { answer, body_taken }, Awaited { answered, taken })
}

/// Serves `request` in a fresh instance with `state`.
pub(crate) async fn run(
    pre: &ProxyPre<State>,
    state: State,
    request: http::Request<WasiBody>,
    exchange: Exchange,
) -> wasmtime::Result<()> {
    let engine = match pre {
        ProxyPre::P2(pre) => pre.engine(),
        ProxyPre::P3(pre) => pre.engine(),
    };
    let mut store = Store::new(engine, state);
    prepare(&mut store);
    store.limiter(|state| &mut state.share);
    match pre {
        ProxyPre::P2(pre) => {
            let proxy = pre.instantiate_async(&mut store).await?;
            let answer = exchange.answer;
            let tell = move |value: Result<_, _>| drop(answer.send(value.map_err(wasmtime::Error::from)));
            let incoming = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let out = store.data_mut().http().new_response_outparam_from_callback(tell)?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, incoming, out).await
        }
        ProxyPre::P3(_) => {
            let proxy = pre.instantiate_async(&mut store).await?;
            let prepared = Prepared::new(store.as_context_mut(), &proxy, request, State::http, exchange.answer)?;
            let work = async |accessor: &wasmtime::component::Accessor<State>| {
                let sent = prepared.run(accessor, std::future::pending()).await;
                // What the guest still writes is driven here until the client has taken it.
                let _dropped = exchange.body_taken.await;
                sent
            };
            store.run_concurrent(work).await??;
            Ok(())
        }
    }
}

/// Runs `guest` until the head of its answer is there; the answer's body runs the rest of it. To drop this future is to
/// end the guest.
pub(crate) async fn answer(
    mut guest: Guest,
    mut awaited: Awaited,
    handle: &Handle,
) -> Result<http::Response<Body>, NoAnswer> {
    let mut ended = None;
    let answered = poll_fn(|context| {
        if ended.is_none()
            && let Poll::Ready(well) = guest.poll_unpin(context)
        {
            ended = Some(well);
        }
        awaited.answered.poll_unpin(context)
    });
    let response = answered.await.map_err(|_| NoAnswer::Silent)?;
    let response = response.map_err(|error| NoAnswer::Error(format!("{error:#}")))?;
    Ok(response.map(|body| match ended {
        Some(true) => body.map_err(BoxError::from).boxed_unsync(),
        Some(false) => Running { body, rest: None, failed: true }.boxed_unsync(),
        None => {
            let rest = Rest { guest, taken: Some(awaited.taken), handle: handle.clone() };
            Running { body, rest: Some(rest), failed: false }.boxed_unsync()
        }
    }))
}

/// A guest that has begun its answer.
struct Rest {
    guest: Guest,
    /// Dropped when the body is taken, or nobody wants it any more.
    taken: Option<oneshot::Sender<()>>,
    handle: Handle,
}

/// An answer's body that runs the guest which writes it.
struct Running {
    body: WasiBody,
    rest: Option<Rest>,
    /// The guest trapped: what wasmtime-wasi-http gives for the end of the body is none.
    failed: bool,
}

impl Running {
    fn run(&mut self, context: &mut Context<'_>) {
        let polled = self.rest.as_mut().map(|rest| rest.guest.poll_unpin(context));
        if let Some(Poll::Ready(well)) = polled {
            self.rest = None;
            self.failed = !well;
        }
    }

    fn end(&mut self, context: &mut Context<'_>) {
        if let Some(rest) = &mut self.rest {
            rest.taken = None;
        }
        self.run(context);
    }
}

impl http_body::Body for Running {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            self.run(context);
            frame = Pin::new(&mut self.body).poll_frame(context);
        }
        if matches!(frame, Poll::Ready(None)) {
            if self.failed {
                return Poll::Ready(Some(Err(NoAnswer::Cut.into())));
            }
            self.end(context);
        } else if self.body.is_end_stream() {
            self.end(context);
        }
        frame.map_err(BoxError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(Rest { guest, handle, .. }) = self.rest.take() {
            // It may still finish what it does after its answer, but not go on for good for a caller that is gone.
            handle.spawn(tokio::time::timeout(LINGER_MOST, guest.map(drop)));
        }
    }
}
