//! The wire: one way in for every request, whatever its resource. Paths, queries and content types become verbs of the
//! registry; answers become JSON, tables or partial objects; errors become `Status` objects.

mod body;
mod deletion;
mod discovery;
mod encode;
mod health;
mod kubelets;
mod list;
mod logs;
mod masters;
mod metrics;
mod offers;
mod parameters;
mod path;
mod relay;
mod review;
mod snapshot;
mod streams;
mod verbs;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::sync::watch::{Receiver, channel};
use tower::ServiceExt;
use wherry_api::{Error, Reason, Revocations};
use wherry_base::Drain;

use crate::authenticate::{Peer, identify};
use crate::identity::Identity;
use crate::masters::Asker;
use crate::registry::Registry;
use crate::serve::ServeConfig;
pub(crate) use offers::Offers;

/// How many requests are worked on at once, watches not counted; more are told to come again.
const REQUESTS_MAX: usize = 2048;
/// How many large bodies are held at once; more wait for their turn.
const LARGE_BODIES_MAX: usize = 8;
/// How many connections to containers (exec, attach, port-forward) are passed on at once; more are told to come again.
const STREAMS_MAX: usize = 1024;
/// How many messages of other masters are held at once; more wait for their turn.
const MESSAGES_MAX: usize = 64;

/// Whether pods can be scheduled: what `/readyz` says.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on the answer is this.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// The present answer.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What every request needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) registry: Registry,
    pub(crate) readiness: Readiness,
    pub(crate) kubelets: kubelets::Kubelets,
    metrics: metrics::Metrics,
    pub(crate) advertise_url: Arc<str>,
    pub(crate) drain: Drain,
    requests: Arc<Semaphore>,
    large: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// What ends connections to containers.
    revocations: Receiver<Revocations>,
    images: Router,
    messages: Arc<Semaphore>,
    master_keys: Bytes,
}

impl Context {
    pub(crate) fn new(
        registry: Registry,
        config: &ServeConfig,
        revocations: Receiver<Revocations>,
        drain: Drain,
    ) -> Self {
        Self {
            registry,
            readiness: config.readiness.clone(),
            kubelets: kubelets::Kubelets::new(Arc::clone(&config.kubelet_tls)),
            metrics: metrics::Metrics::default(),
            advertise_url: config.advertise_url.as_str().into(),
            drain,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            large: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            revocations,
            images: config.images.clone(),
            messages: Arc::new(Semaphore::new(MESSAGES_MAX)),
            master_keys: config.master_keys.clone(),
        }
    }
}

/// The API over HTTP, whatever carries its requests. Clones share everything.
#[derive(Clone)]
pub struct HttpApi(Router);

impl HttpApi {
    /// That of a master; what goes on for long ends with the drain.
    pub fn new(registry: Registry, config: &ServeConfig, drain: Drain) -> Self {
        // Who asks has no certificate.
        let (_never, revocations) = channel(Revocations::default());
        Self(router(Context::new(registry, config, revocations, drain)))
    }

    /// Answers a request of who has proved to be `identity`.
    pub async fn answer(&self, identity: Identity, request: http::Request<Bytes>) -> Response {
        let peer = Peer { certificate: Some((identity, String::new())) };
        let Ok(response) = call(self.0.clone(), peer, request.map(Body::from)).await;
        response
    }
}

/// Answers every path.
pub(crate) fn router(context: Context) -> Router {
    Router::new().fallback(answer).with_state(context)
}

async fn answer(State(context): State<Context>, request: Request) -> Response {
    match route(&context, request).await {
        Ok(response) => response,
        Err(error) => encode::error(&error),
    }
}

async fn route(context: &Context, request: Request) -> Result<Response, Error> {
    let path = request.uri().path().to_owned();
    if let Some(response) = health::answer(context, &path) {
        return Ok(response);
    }
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    let identity = identify(&context.registry, &peer, bearer(request.headers()))?;
    let identity = identity.ok_or_else(|| Error::new(Reason::Unauthorized, "Unauthorized"))?;
    if path == health::STORE {
        return Ok(health::store(context).await);
    }
    let asker = Asker::of(identity, request.headers())?;
    let identity = &asker.identity;
    let of_masters = masters::named(&path);
    if of_masters.is_some_and(masters::is_message) {
        return masters::message(context, &asker, request).await;
    }
    let _permit = context.requests.try_acquire().map_err(|_| busy())?;
    if let Some(answer) = discovery::answer(context, &path, request.method(), request.headers()) {
        return answer;
    }
    let (method, query) = (request.method(), request.uri().query().unwrap_or_default());
    if let Some(answer) = metrics::answer(context, identity, &path, method, (query, request.headers())).await {
        return answer;
    }
    if of_masters.is_some() {
        return masters::answer(context, &asker, request).await;
    }
    if snapshot::is_named(&path) {
        return snapshot::answer(context, identity, request).await;
    }
    if path == "/v2" || path.starts_with("/v2/") {
        return images(context, identity.clone(), request).await;
    }
    if let Some(review) = review::named(&path) {
        return review::answer(context, review, identity, request).await;
    }
    verbs::carry_out(context, &asker, path::parse(&path)?, request).await
}

/// The image registry's answer.
async fn images(context: &Context, identity: Identity, mut request: Request) -> Result<Response, Error> {
    request.extensions_mut().insert(identity);
    let Ok(response) = context.images.clone().oneshot(request).await;
    Ok(response)
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn busy() -> Error {
    let mut error = Error::new(Reason::TooManyRequests, "too many requests are being worked on; try again");
    error.retry_after_seconds = Some(1);
    error
}

/// A whole body of text.
fn text(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// The router's answer to one connection's peer.
pub(crate) async fn call(
    router: Router,
    peer: Peer,
    mut request: Request,
) -> Result<Response, std::convert::Infallible> {
    request.extensions_mut().insert(peer);
    router.oneshot(request).await
}

#[cfg(test)]
mod tests;
