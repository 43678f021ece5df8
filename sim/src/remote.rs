//! The API over the simulated network: a client of one master, and of the next one when that does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use wherry_api::{Error, Reason, Resource};
use wherry_apiserver::Identity;
use wherry_client::{RawWatch, Request, Transport, WatchOptions};

use crate::bug::Bug;
use crate::net::{Answer, Host, Message, Port, Tape};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(8);

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
        Self { port, identity, masters, present: AtomicUsize::new(first), bug }
    }

    async fn ask(&self, message: Message) -> Result<Answer, Error> {
        let present = self.present.load(Ordering::Relaxed);
        let asked = self.port.ask(Host::Master(present % self.masters), message);
        if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await {
            return Ok(answer);
        }
        self.turn_from(present);
        Err(Error::new(Reason::Timeout, "the master does not answer"))
    }

    /// Another is asked next, unless that is so already.
    fn turn_from(&self, master: usize) {
        let next = (master + 1) % self.masters;
        let _turned = self.present.compare_exchange(master, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A master that serves nobody at present is left alone.
    fn judge<T>(&self, asked: usize, answer: Result<T, Error>) -> Result<T, Error> {
        if answer.as_ref().is_err_and(|error| error.reason == Reason::ServiceUnavailable) {
            self.turn_from(asked);
        }
        answer
    }
}

#[async_trait]
impl Transport for Remote {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let asked = self.present.load(Ordering::Relaxed);
        match self.ask(Message::Call(self.identity.clone(), request)).await? {
            Answer::Call(answer) => self.judge(asked, answer),
            _ => Err(Error::new(Reason::InternalError, "an answer to another question")),
        }
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        let asked = self.present.load(Ordering::Relaxed);
        let skipped = usize::from(self.bug == Some(Bug::SkippedEvent) && !options.resource_version.is_empty());
        match self.ask(Message::Watch(self.identity.clone(), resource, namespace, options)).await? {
            Answer::Watch(answer) => {
                let tape = self.judge(asked, answer)?;
                Ok(self.play(tape).skip(skipped).boxed())
            }
            _ => Err(Error::new(Reason::InternalError, "an answer to another question")),
        }
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
