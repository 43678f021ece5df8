//! What only the leader can do: writes, and reads of what is in its memory only. A request that came to another master is
//! passed on, as its user's; while nobody leads it waits.
//!
//! A request is repeated only where it is certain that nothing was done, or where it reads. A refusal is a read: it is given
//! from a state that is known to be the newest.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Limited};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use wherry_api::{Error, Reason, Resource};
use wherry_client::{RawWatch, Request, WatchOptions, refusal, route_of, watch_events, watch_route};
use wherry_store::{Leadership, Member};

use super::Registry;
use crate::masters::{Asker, Masters, on_behalf};

/// How long a request waits for somebody to lead.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long to rest before the same leader is asked again.
const REST: Duration = Duration::from_millis(50);
/// How long the answer of one that does not lead any more is waited for: whether it has done what was asked.
const LAST_WORD_MOST: Duration = Duration::from_millis(300);
/// What an answer may take that is read whole, in bytes: as much as any client reads.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Finds the leader for one request, as often as it takes.
struct Way<'a> {
    registry: &'a Registry,
    asker: &'a Asker,
    leadership: watch::Receiver<Leadership>,
    patience: Option<Pin<Box<Sleep>>>,
}

/// Where a request is to be carried out.
enum Seat {
    Here,
    There(Leader),
}

/// Another master that leads, asked on somebody's behalf.
pub(crate) struct Leader {
    member: Member,
    masters: Arc<dyn Masters>,
    headers: HeaderMap,
    leadership: watch::Receiver<Leadership>,
}

impl Registry {
    /// Carries out what the leader has to: by `here` while this master leads, else by `there`; again where nothing was done.
    pub(crate) async fn at_leader<T, H, L>(
        &self,
        asker: &Asker,
        here: impl Fn() -> H + Send,
        there: impl Fn(Leader) -> L + Send,
    ) -> Result<T, Error>
    where
        H: Future<Output = Result<T, Error>> + Send,
        L: Future<Output = Result<T, Error>> + Send,
    {
        let mut way = Way { registry: self, asker, leadership: self.store().leadership(), patience: None };
        loop {
            let outcome = match way.seat().await? {
                Seat::Here => match here().await {
                    // Another one may have led since, unknown to this master, as after a pause.
                    Err(error) if rests_on_state(&error) => {
                        self.reach(None).await?;
                        here().await
                    }
                    outcome => outcome,
                },
                Seat::There(leader) => there(leader).await,
            };
            match outcome {
                Err(error) if error.is_undone() => way.wait(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// An error where the leader alone has this resource, and this master is not it any more.
    pub(crate) fn check_readable(&self, resource: &'static Resource) -> Result<(), Error> {
        self.store().readable(resource).map_err(|error| Error::undone(error.to_string()))
    }
}

impl Way<'_> {
    /// Where to carry out the request now.
    async fn seat(&mut self) -> Result<Seat, Error> {
        loop {
            let now = self.leadership.borrow_and_update().clone();
            match (now, &self.registry.inner.config.masters) {
                (Leadership::Leader, _) => return Ok(Seat::Here),
                // Its own disk may be in the way: it says so itself.
                _ if self.registry.store().is_alone() => return Ok(Seat::Here),
                (Leadership::Follower { leader: Some(member) }, Some(masters)) if !self.asker.stays => {
                    let (masters, headers) = (Arc::clone(masters), on_behalf(&self.asker.identity)?);
                    return Ok(Seat::There(Leader { member, masters, headers, leadership: self.leadership.clone() }));
                }
                _ => self.wait(Error::undone("this master does not lead")).await?,
            }
        }
    }

    /// Waits for another leader, or a little, after nothing was done; an error where that has taken too long.
    async fn wait(&mut self, undone: Error) -> Result<(), Error> {
        if self.asker.stays {
            // Who has passed it on looks for another leader.
            return Err(undone);
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(LEADER_PATIENCE)));
        tokio::select! {
            () = patience => {
                let mut error = Error::new(Reason::ServiceUnavailable, "no master leads at present; try again");
                error.retry_after_seconds = Some(1);
                Err(error)
            }
            _ = self.leadership.changed() => Ok(()),
            () = sleep(REST) => Ok(()),
        }
    }
}

impl Leader {
    /// Asks it; `headers` come besides those that say who asks.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Error> {
        let is_read = is_read(&method);
        let request = http::Request::builder().method(method).uri(path_and_query).body(body);
        let mut request = request.map_err(|error| Error::new(Reason::BadRequest, error.to_string()))?;
        *request.headers_mut() = headers;
        request.headers_mut().extend(self.headers.clone());
        let (masters, address) = (Arc::clone(&self.masters), self.member.address.clone());
        tokio::select! {
            biased;
            answer = masters.ask(&address, request) => answer.map_err(|error| {
                if error.is_unsent { Error::undone(error.to_string()) } else { lost(is_read, &error.to_string()) }
            }),
            () = async { self.left().await; sleep(LAST_WORD_MOST).await } => {
                Err(lost(is_read, "it does not lead any more"))
            }
        }
    }

    /// Resolves when it does not lead any more, as far as this master knows.
    pub(crate) async fn left(&mut self) {
        let id = self.member.id;
        let is_another = |now: &Leadership| !matches!(now, Leadership::Follower { leader: Some(own) } if own.id == id);
        let _ended = self.leadership.wait_for(is_another).await;
    }

    /// Carries out a request of an in-process client.
    pub(super) async fn send(mut self, request: Request) -> Result<Bytes, Error> {
        let route = route_of(request, false)?;
        let is_read = is_read(&route.method);
        let headers = plain(route.content_type);
        let answer = self.ask(route.method, &route.path_and_query, headers, route.body).await?;
        let status = answer.status();
        let whole = tokio::select! {
            biased;
            whole = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect() => whole.map_err(|e| lost(is_read, &e.to_string()))?,
            () = self.left() => return Err(lost(is_read, "it does not lead any more")),
        };
        let body = whole.to_bytes();
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    /// Opens a watch of an in-process client; it ends with the leader's office.
    pub(super) async fn watch(
        mut self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &WatchOptions,
    ) -> Result<RawWatch, Error> {
        let path_and_query = watch_route(resource, namespace, options);
        let answer = self.ask(Method::GET, &path_and_query, plain(""), Bytes::new()).await?;
        let status = answer.status();
        if !status.is_success() {
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            return Err(refusal(status, &body.map(|body| body.to_bytes()).unwrap_or_default()));
        }
        let chunks = answer.into_body().into_data_stream();
        let chunks = chunks.map(|chunk| chunk.map_err(|error| lost(true, &error.to_string())));
        Ok(watch_events(chunks.take_until(Box::pin(async move { self.left().await })).boxed()))
    }
}

/// Whether a request was refused, and nothing of it done, for what this master has, or has not.
const fn rests_on_state(error: &Error) -> bool {
    use Reason::{AlreadyExists, Conflict, Forbidden, Invalid, NotFound};
    matches!(error.reason, AlreadyExists | Conflict | Forbidden | Invalid | NotFound)
}

/// The error of a leader that was lost after it may have been asked.
fn lost(is_read: bool, why: &str) -> Error {
    if is_read {
        return Error::undone(why);
    }
    let message =
        format!("the master that led was lost before it answered; what was asked may have been done, or not: {why}");
    Error::new(Reason::Timeout, message)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn plain(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers
}
