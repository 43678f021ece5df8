//! Requests for ports of a sandbox's pods, taken as messages over the sandbox's channel.
//!
//! The channel is made for the first port that takes requests. Its end, or what breaks it, is the sandbox's end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::BodyExt;
use wherry_vnet::{Body, HttpHandler, Stream, Unanswered, full_body, socket_pair};

use super::link::Link;
use crate::channel::{Begun, BodyEnd, Channel, Head, Outbound, Violation, What};
use crate::message::ToSandbox;

/// A port that takes requests.
struct Port {
    channel: Arc<Channel>,
    at: SocketAddr,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox, or what ran the request in it, ended before it answered")]
struct NoAnswer;

#[async_trait]
impl HttpHandler for Port {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        ask(&self.channel, self.at, request).await
    }
}

impl Link {
    /// What takes requests for a port of a pod of the sandbox. `None` where there can be no channel: connections do as well.
    pub(super) fn requests(self: &Arc<Self>, at: SocketAddr) -> Option<Arc<dyn HttpHandler>> {
        let mut kept = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = self.open_channel().inspect_err(|error| tracing::warn!(%error, "no channel to a sandbox")).ok();
        }
        let channel = kept.clone()?;
        Some(Arc::new(Port { channel, at }))
    }

    fn open_channel(self: &Arc<Self>) -> io::Result<Arc<Channel>> {
        let _on_their_threads = self.requests.enter();
        let (ours, theirs) = socket_pair()?;
        // Nobody asks whose it is.
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let stream = Stream::from_socket(ours, nowhere, nowhere, &self.drain)?;
        self.tell(&ToSandbox::Requests, vec![theirs]);
        let channel = Channel::new(self.drain.clone());
        self.drain.spawn_graceful(Arc::clone(self).carry_requests(Arc::clone(&channel), stream));
        Ok(channel)
    }

    async fn carry_requests(self: Arc<Self>, channel: Arc<Channel>, stream: Stream) {
        let carried = self.gone.run_until_cancelled(channel.run(stream, |number, what| hear(&channel, number, what)));
        if let Some(why) = carried.await {
            self.end_unless_gone(&why.to_string()).await;
        }
    }
}

fn hear(channel: &Channel, number: u64, what: What<'_>) -> Result<(), Violation> {
    match what {
        What::Response { head, piece } => channel.answered(number, head.into_owned(), piece),
        What::Refused => channel.refused(number),
        other => channel.hear(number, other),
    }
}

/// Asks over a channel. To drop this future, or the body of the answer, is to want no answer.
async fn ask(channel: &Arc<Channel>, at: SocketAddr, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
    channel.room().await;
    let Some((sending, mut inbound)) = channel.open() else { return Err(Unanswered::Unseen(Box::new(request))) };
    let (head, body) = request.into_parts();
    let mut body = Outbound::new(body);
    let number = sending.number();
    let sent = sending.begin(Head::Request(at, &head), &mut body).await.inspect_err(|_never_said| {
        channel.forget(number);
    })?;
    if sent.is_none() {
        channel.spawn(number, sending.send(body));
    }
    let end = match inbound.begun().await {
        Ok(Begun { head, whole: Some(whole) }) => return Ok(Response::from_parts(head, full_body(whole))),
        Ok(Begun { head, whole: None }) => return Ok(Response::from_parts(head, inbound.boxed_unsync())),
        Err(end) => end,
    };
    let again = sent.map(|body| Box::new(Request::from_parts(head, full_body(body))));
    Err(match (end, again) {
        (BodyEnd::Refused, Some(again)) => Unanswered::Unseen(again),
        (_, again) => Unanswered::Broken(NoAnswer.into(), again),
    })
}

#[cfg(test)]
mod tests;
