//! One request: matched to a Service, an endpoint chosen, its handler called or a connection used.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use wherry_api::ObjectKey;
use wherry_base::Drain;
use wherry_vnet::{Body, HttpHandler, Network, Unanswered};

use super::body::{Outgoing, incoming};
use super::failure::Failure;
use super::headers::{self, Client};
use super::matcher::Matcher;
use super::pool::{Pool, RESPONSE_HEADER_TIMEOUT, SendError};
use super::upgrade;
use crate::table::{Endpoint, Permit, PortRef, Table};

/// How many endpoints are asked before a request that none took fails.
const ENDPOINTS_TRIED_MAX: usize = 4;

/// Takes requests to pods.
pub(crate) struct Forwarder {
    matcher: ArcSwap<Matcher>,
    table: Arc<Table>,
    network: Arc<Network>,
    pool: Arc<Pool>,
    tasks: Drain,
}

/// A request on its way to a Service.
struct Passage<'a> {
    service: &'a ObjectKey,
    port: &'a PortRef,
    table: &'a Table,
    client: &'a Client,
}

type Answer = Result<Response<Outgoing>, Failure>;
type Sent = Result<Response<Outgoing>, SendError>;

impl Forwarder {
    pub(crate) fn new(table: Arc<Table>, network: Arc<Network>, tasks: Drain) -> Arc<Self> {
        let pool = Pool::new(Arc::clone(&network), tasks.clone());
        let sweeper = Arc::clone(&pool);
        tasks.vital().spawn(async move { sweeper.sweep().await });
        Arc::new(Self { matcher: ArcSwap::default(), table, network, pool, tasks })
    }

    pub(crate) fn store(&self, matcher: Matcher) {
        self.matcher.store(Arc::new(matcher));
    }

    /// Answers a client's request, whatever becomes of it.
    pub(crate) async fn serve(&self, client: &Client, request: Request<Incoming>) -> Response<Outgoing> {
        self.answer(client, request).await.unwrap_or_else(|failure| failure.response())
    }

    async fn answer(&self, client: &Client, mut request: Request<Incoming>) -> Answer {
        if request.method() == Method::CONNECT {
            return Err(Failure::Connect);
        }
        let matcher = self.matcher.load_full();
        let found = matcher.find(headers::host(&request), request.uri().path());
        let backend = found.ok_or(Failure::NoRule)?;
        let passage = Passage { service: &backend.service, port: &backend.port, table: &self.table, client };
        let protocol = headers::upgrade(request.headers());
        headers::prepare(&mut request, client);
        let Some(protocol) = protocol else { return self.pass(&passage, request.map(incoming)).await };
        let switched = hyper::upgrade::on(&mut request);
        upgrade::ask(&mut request, protocol);
        self.pass_upgrade(&passage, request.map(incoming), switched).await
    }

    async fn pass(&self, passage: &Passage<'_>, mut request: Request<Body>) -> Answer {
        let mut is_repeated = false;
        for _ in 0..ENDPOINTS_TRIED_MAX {
            let endpoint = passage.choose()?;
            let sent = match self.network.handler(endpoint.address) {
                Some(handler) => call(&*handler, request, endpoint.begin()).await,
                None => self.send(&endpoint, request, is_repeated).await,
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(SendError::Unsent(unsent)) => request = *unsent,
                Err(SendError::NotConnected(unsent, why)) => {
                    endpoint.failed(&why);
                    request = *unsent;
                }
                // A pod that stops ends what it has not answered yet: rather another one's turn.
                Err(SendError::Broken(again)) => {
                    let again = again.filter(|again| !is_repeated && is_harmless(again));
                    request = *again.ok_or_else(|| passage.broken())?;
                    is_repeated = true;
                }
                Err(SendError::TimedOut) => return Err(Failure::TimedOut(passage.service.clone())),
            }
            endpoint.avoid();
        }
        Err(Failure::NotConnected(passage.service.clone()))
    }

    /// Over a connection.
    async fn send(&self, endpoint: &Arc<Endpoint>, request: Request<Body>, is_repeated: bool) -> Sent {
        let permit = endpoint.begin();
        let again = copy(&request);
        let sent = self.pool.send(endpoint.address, request, is_repeated).await;
        let (response, lease) = sent.map_err(|error| match error {
            SendError::Broken(_) => SendError::Broken(again),
            other => other,
        })?;
        Ok(finish(response, |body| Outgoing::Connection { body, lease: Some(lease), ended: false, _permit: permit }))
    }

    /// Upgrades take a connection of their own, also to a module: a handler cannot switch protocols.
    async fn pass_upgrade(&self, passage: &Passage<'_>, request: Request<Body>, client: OnUpgrade) -> Answer {
        for _ in 0..ENDPOINTS_TRIED_MAX {
            let endpoint = passage.choose()?;
            let permit = endpoint.begin();
            let mut sender = match self.pool.connect(endpoint.address).await {
                Ok(sender) => sender,
                Err(why) => {
                    endpoint.failed(&why);
                    continue;
                }
            };
            let sent = timeout(RESPONSE_HEADER_TIMEOUT, sender.send_request(request)).await;
            let sent = sent.map_err(|_| Failure::TimedOut(passage.service.clone()))?;
            let mut response = sent.map_err(|_| passage.broken())?;
            if !upgrade::agreed(&response) {
                return Ok(finish(response, |body| Outgoing::Connection {
                    body,
                    lease: None,
                    ended: false,
                    _permit: permit,
                }));
            }
            upgrade::join(&self.tasks, client, &mut response, permit);
            return Ok(response.map(|_| Outgoing::text(String::new())));
        }
        Err(Failure::NotConnected(passage.service.clone()))
    }
}

impl Passage<'_> {
    /// From the table as it is now: between two tries the endpoints may have been replaced.
    fn choose(&self) -> Result<Arc<Endpoint>, Failure> {
        let backends = self.table.backends(self.service, self.port);
        let backends = backends.ok_or_else(|| Failure::NoService(self.service.clone()))?;
        backends.choose(self.client.ip).cloned().ok_or_else(|| Failure::NoEndpoint(self.service.clone()))
    }

    fn broken(&self) -> Failure {
        Failure::Broken(self.service.clone())
    }
}

/// By a handler.
async fn call(handler: &dyn HttpHandler, request: Request<Body>, permit: Permit) -> Sent {
    let answered = timeout(RESPONSE_HEADER_TIMEOUT, handler.handle(request)).await;
    let response = answered.map_err(|_| SendError::TimedOut)?.map_err(|unanswered| match unanswered {
        Unanswered::Unseen(request) => SendError::Unsent(request),
        Unanswered::Broken(_, again) => SendError::Broken(again),
    })?;
    Ok(finish(response, |body| Outgoing::Handler { body, _permit: permit }))
}

/// Whether to ask twice does no harm, and there is no body.
fn is_harmless(request: &Request<Body>) -> bool {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    is_safe && http_body::Body::is_end_stream(request.body())
}

/// The same request again, where that does no harm.
fn copy(request: &Request<Body>) -> Option<Box<Request<Body>>> {
    if !is_harmless(request) {
        return None;
    }
    let mut again = Request::new(wherry_vnet::full_body(bytes::Bytes::new()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(Box::new(again))
}

fn finish<B>(mut response: Response<B>, wrap: impl FnOnce(B) -> Outgoing) -> Response<Outgoing> {
    let headers = response.headers_mut();
    if headers.contains_key(header::CONNECTION) || headers.contains_key(header::TRANSFER_ENCODING) {
        headers::remove_hop_by_hop(headers);
    }
    *response.version_mut() = http::Version::HTTP_11;
    response.map(wrap)
}
