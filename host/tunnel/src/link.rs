//! One connection to a peer, from the side that asks.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wherry_vnet::DialError;

use crate::ANSWER_MOST;
use crate::ask::{Ask, outcome_of};
use crate::dial::Dialed;
use crate::health::{self, Counting, Idle, Load, Verdict};

/// How long a connection without streams is kept.
pub(crate) const IDLE: Idle = Idle::EndAfter(Duration::from_secs(300));

/// A connection that takes streams.
#[derive(Debug)]
pub(crate) struct Link {
    requests: SendRequest<Bytes>,
    load: Load,
}

/// A stream that the peer has accepted.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
    pub(crate) counting: Counting,
}

/// Why a stream is not open.
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// The connection is none any more.
    Lost,
    /// The peer has said no.
    Denied(DialError),
}

impl Link {
    /// A connection, and what drives it until it ends, is idle for long, or the peer is `gone`.
    pub(crate) fn new<T>(dialed: Dialed<T>, idle: Idle, gone: CancellationToken) -> (Self, impl Future<Output = String>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Dialed { requests, mut connection, heard } = dialed;
        let load = Load::new();
        let link = Self { requests, load: load.clone() };
        let driven = async move {
            let Some(pings) = connection.ping_pong() else { return String::from("it has no PING") };
            let mut verdict = pin!(health::watch(pings, &load, &heard, idle));
            tokio::select! {
                biased;
                () = gone.cancelled() => String::from("the node is gone"),
                ended = connection => ended.map_or_else(|error| error.to_string(), |()| String::from("closed")),
                verdict = &mut verdict => match verdict {
                    Verdict::Dead => String::from("the node does not answer"),
                    Verdict::Idle => String::from("idle"),
                },
            }
        };
        (link, driven)
    }

    pub(crate) fn streams(&self) -> usize {
        self.load.streams()
    }

    pub(crate) fn begin(&self) -> Counting {
        self.load.begin()
    }

    /// Opens a stream; `counting` is its place.
    pub(crate) async fn open(&self, ask: Ask, counting: Counting) -> Result<Open, NotOpen> {
        let unreachable = || NotOpen::Denied(DialError::PeerUnreachable);
        let request = ask.request().map_err(|_| unreachable())?;
        let mut requests = self.requests.clone().ready().await.map_err(|_| NotOpen::Lost)?;
        let (response, send) = requests.send_request(request, false).map_err(|_| NotOpen::Lost)?;
        let response = timeout(ANSWER_MOST, response).await.map_err(|_| unreachable())?;
        let response = response.map_err(|_| NotOpen::Lost)?;
        outcome_of(&response).map_err(NotOpen::Denied)?;
        Ok(Open { send, receive: response.into_body(), counting })
    }
}
