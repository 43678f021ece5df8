//! Requests that the node hands over as messages, answered by the handlers of this sandbox's pods.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use wherry_base::Drain;
use wherry_vnet::{Body, HttpHandler, Network, Stream, Unanswered, full_body};

use crate::channel::{Channel, Head, Outbound, Piece, Sending, Violation, What};

/// Serves a channel until the node is gone, on the threads that are entered.
pub(super) fn serve(network: Arc<Network>, socket: OwnedFd, drain: &Drain) {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let stream = match Stream::from_socket(socket, nowhere, nowhere, drain) {
        Ok(stream) => stream,
        Err(error) => return tracing::error!(%error, "the channel for requests cannot be read"),
    };
    let channel = Channel::new(drain.clone());
    drain.spawn_graceful(async move {
        let why = channel.run(stream, |number, what| hear(&channel, &network, number, what)).await;
        tracing::debug!(%why, "the channel for requests has ended");
    });
}

fn hear(channel: &Arc<Channel>, network: &Network, number: u64, what: What<'_>) -> Result<(), Violation> {
    let What::Request { to, head, piece } = what else { return channel.hear(number, what) };
    let (sending, inbound) = channel.accept(number, piece)?;
    let Some(handler) = network.handler(to) else {
        sending.refuse();
        return Ok(());
    };
    let whole = |Piece { bytes, is_last }: Piece<'_>| is_last.then(|| full_body(Bytes::copy_from_slice(bytes)));
    let body = whole(piece).unwrap_or_else(|| inbound.boxed_unsync());
    channel.spawn(number, answer(handler, Request::from_parts(head.into_owned(), body), sending));
    Ok(())
}

/// To drop this future is to end the guest.
async fn answer(handler: Arc<dyn HttpHandler>, request: Request<Body>, sending: Sending) {
    match handler.handle(request).await {
        Ok(response) => send(response, sending).await,
        Err(Unanswered::Unseen(_)) => sending.refuse(),
        // Dropping `sending` says that it broke off.
        Err(Unanswered::Broken(..)) => {}
    }
}

async fn send(response: Response<Body>, sending: Sending) {
    let (head, body) = response.into_parts();
    let mut body = Outbound::new(body);
    sending.room().await;
    if let Ok(None) = sending.begin(Head::Response(&head), &mut body).await {
        sending.send(body).await;
    }
}
