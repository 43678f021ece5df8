//! The API over the simulated network: a client of one master, and of the next one when that does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use wherry_api::kinds::{Kind, Lease};
use wherry_api::{Error, Reason, Resource};
use wherry_apiserver::Identity;
use wherry_client::{RawWatch, Request, Transport, Verb, WatchOptions};

use crate::bug::Bug;
use crate::net::{Answer, Host, Message, Port, Tape};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a client that does not care waits for the answer to its renewal.
const CARELESS_PATIENCE: Duration = Duration::from_millis(300);

/// A client of the masters.
pub struct Remote {
    port: Port,
    identity: Identity,
    masters: usize,
    /// Which one is asked.
    present: AtomicUsize,
    bug: Option<Bug>,
}

impl Remote {
    pub fn new(port: Port, identity: Identity, masters: usize, first: usize, bug: Option<Bug>) -> Self {
        Self { port, identity, masters, present: AtomicUsize::new(first % masters), bug }
    }

    /// Asks the present master; a master that does not answer, or serves nobody at present, is left alone.
    async fn ask<T>(
        &self,
        message: Message,
        open: impl FnOnce(Answer) -> Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let asked = self.present.load(Ordering::Relaxed);
        let answered = tokio::time::timeout(PATIENCE, self.port.ask(Host::Master(asked), message)).await;
        let answer = match answered {
            Ok(Ok(answer)) => {
                open(answer).unwrap_or_else(|| Err(Error::new(Reason::InternalError, "an answer to another question")))
            }
            _ => Err(Error::new(Reason::Timeout, "the master does not answer")),
        };
        let is_useless = |error: &Error| matches!(error.reason, Reason::ServiceUnavailable | Reason::Timeout);
        if answer.as_ref().is_err_and(is_useless) {
            self.turn_from(asked);
        }
        answer
    }

    /// Another is asked next, unless that is so already.
    fn turn_from(&self, master: usize) {
        let next = (master + 1) % self.masters;
        let _turned = self.present.compare_exchange(master, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn call(&self, request: Request) -> Result<Bytes, Error> {
        let message = Message::Call(self.identity.clone(), request);
        self.ask(message, |answer| if let Answer::Call(answer) = answer { Some(answer) } else { None }).await
    }

    /// Renews a Lease, and takes silence for consent.
    async fn renew_carelessly(&self, request: Request) -> Result<Bytes, Error> {
        match tokio::time::timeout(CARELESS_PATIENCE, self.call(request)).await {
            Ok(Err(error)) if error.reason == Reason::NotFound => Err(error),
            Ok(Ok(lease)) => Ok(lease),
            _ => Ok(Bytes::from_static(b"{\"metadata\": {}}")),
        }
    }
}

#[async_trait]
impl Transport for Remote {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let is_renewal = std::ptr::eq(request.resource, Lease::resource()) && matches!(request.verb, Verb::Patch(..));
        if is_renewal && self.bug == Some(Bug::LateFence) {
            return self.renew_carelessly(request).await;
        }
        self.call(request).await
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        let skipped = usize::from(self.bug == Some(Bug::SkippedEvent) && !options.resource_version.is_empty());
        let message = Message::Watch(self.identity.clone(), resource, namespace, options);
        let open = |answer| if let Answer::Watch(answer) = answer { Some(answer) } else { None };
        let tape = self.ask(message, open).await?;
        Ok(self.play(tape).skip(skipped).boxed())
    }
}

impl Remote {
    /// The events, as they arrive.
    fn play(&self, tape: Tape) -> RawWatch {
        let times = self.port.times;
        let events = stream::unfold(tape, move |mut tape| async move {
            let (due, event) = tape.recv().await?;
            times.until(due).await;
            Some((event, tape))
        });
        events.boxed()
    }
}
