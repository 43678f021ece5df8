//! A peer: its connections, which of them takes the next stream, and when another is made.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use wherry_base::{Backoff, Drain};
use wherry_vnet::DialError;

use crate::ask::Ask;
use crate::datagrams::{self, Datagram, WAITING_MAX};
use crate::dial::{ALPN, Dialed, Failure, STREAMS_MAX, connect, handshake};
use crate::health::{Counting, Idle};
use crate::link::{self, Link, NotOpen, Open};
use crate::node::Reach;
use crate::relay::Relays;

/// How many connections there are to a peer at most: as many may come from it.
const CONNECTIONS_MAX: usize = 16;
/// From how many streams on a connection another one is made.
const STREAMS_COMFORTABLE: usize = 16;
/// On how many connections a stream is tried: those that turn out to be broken are left.
const LINKS_TRIED_MAX: usize = 3;
/// How long a peer that could not be connected to is left alone, at first and at most; it counts as unreachable.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Another node, as long as it is where it is.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) reach: Reach,
    /// Cancelled when the node is no longer a peer, or is elsewhere: all its streams end.
    pub(crate) gone: CancellationToken,
    /// The places of connections that it makes.
    pub(crate) inward: Arc<Semaphore>,
    pub(crate) means: Means,
    links: Mutex<Links>,
    /// Told when a connection is made, or is not.
    dialed: Notify,
    datagrams: Mutex<Option<mpsc::Sender<Datagram>>>,
}

/// What connections are made with.
#[derive(Clone)]
pub(crate) struct Means {
    /// For connections over which this node asks.
    pub(crate) tls: TlsConnector,
    /// For connections over which this node is asked (`offer`).
    pub(crate) offering: TlsConnector,
    pub(crate) drain: Drain,
    /// Where this node cannot be connected to, its ways to others like it.
    pub(crate) relays: Option<Relays>,
}

#[derive(Debug)]
struct Links {
    up: Vec<Arc<Link>>,
    is_dialing: bool,
    backoff: Backoff,
    /// Until when it is left alone.
    resting_until: Option<Instant>,
}

/// What the connections there are mean for a stream.
enum Choice {
    Take(Arc<Link>, Counting),
    Wait,
    Unreachable,
    Overloaded,
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

impl Peer {
    pub(crate) fn new(name: &str, reach: Reach, means: Means) -> Arc<Self> {
        let backoff = Backoff::new(REDIAL.0, REDIAL.1);
        let links = Links { up: Vec::new(), is_dialing: false, backoff, resting_until: None };
        Arc::new(Self {
            name: name.to_owned(),
            reach,
            gone: CancellationToken::new(),
            inward: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            means,
            links: Mutex::new(links),
            dialed: Notify::new(),
            datagrams: Mutex::default(),
        })
    }

    /// Whether an address is one of this node's.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.reach.ranges.iter().any(|range| range.contains(&address))
    }

    /// Opens a stream to the peer.
    pub(crate) async fn open(self: &Arc<Self>, ask: Ask) -> Result<Open, DialError> {
        for _ in 0..LINKS_TRIED_MAX {
            let (link, counting) = self.link().await?;
            match link.open(ask.clone(), counting).await {
                Ok(open) => return Ok(open),
                Err(NotOpen::Denied(error)) => return Err(error),
                Err(NotOpen::Lost) => self.forget(&link),
            }
        }
        Err(DialError::PeerUnreachable)
    }

    /// Sends a datagram, over the one stream for all of them; dropped where it does not fit.
    pub(crate) fn send(self: &Arc<Self>, from: SocketAddr, to: SocketAddr, payload: Bytes) {
        let mut queue = self.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = queue.take().filter(|queue| !queue.is_closed());
        let sender = open.unwrap_or_else(|| {
            let (sender, waiting) = mpsc::channel(WAITING_MAX);
            self.means.drain.spawn(datagrams::send(Arc::clone(self), waiting));
            sender
        });
        let _dropped_when_full = sender.try_send(Datagram { from, to, payload });
        *queue = Some(sender);
    }

    /// A connection with a place for a stream; waits for one that is being made.
    async fn link(self: &Arc<Self>) -> Result<(Arc<Link>, Counting), DialError> {
        loop {
            let dialed = self.dialed.notified();
            tokio::pin!(dialed);
            dialed.as_mut().enable();
            match self.choose() {
                Choice::Take(link, counting) => return Ok((link, counting)),
                Choice::Unreachable => return Err(DialError::PeerUnreachable),
                Choice::Overloaded => return Err(DialError::Overloaded),
                Choice::Wait => dialed.await,
            }
        }
    }

    fn choose(self: &Arc<Self>) -> Choice {
        if self.gone.is_cancelled() {
            return Choice::Unreachable;
        }
        let mut links = self.links();
        let least = links.up.iter().min_by_key(|link| link.streams()).cloned();
        let streams = least.as_ref().map_or(usize::MAX, |link| link.streams());
        let has_way = self.reach.endpoint.is_some() || self.means.relays.is_some();
        if has_way && streams >= STREAMS_COMFORTABLE && links.may_dial() {
            links.is_dialing = true;
            // On the heap at once: a guest may wait here, whose stack is small.
            self.means.drain.spawn(Box::pin(Arc::clone(self).connect()));
        }
        match least {
            Some(link) if streams < STREAMS_MAX as usize => {
                let counting = link.begin();
                Choice::Take(link, counting)
            }
            _ if links.is_dialing => Choice::Wait,
            Some(_) => Choice::Overloaded,
            None => Choice::Unreachable,
        }
    }

    /// Makes a connection and drives it to its end.
    async fn connect(self: Arc<Self>) {
        match (self.reach.endpoint, &self.means.relays) {
            (Some(at), _) => self.drive_when(connect(&self.means.tls, ALPN, &self.name, at)).await,
            (None, Some(relays)) => self.drive_when(relays.connect(&self)).await,
            (None, None) => self.not_dialed(),
        }
    }

    async fn drive_when<T>(&self, connected: impl Future<Output = Result<T, Failure>>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        match self.gone.run_until_cancelled(async { handshake(connected.await?).await }).await {
            Some(Ok(dialed)) => self.drive(dialed, link::IDLE).await,
            Some(Err(error)) => {
                tracing::debug!(node = %self.name, %error, "a node cannot be connected to");
                self.not_dialed();
            }
            None => self.not_dialed(),
        }
    }

    /// Asks over a connection, until its end.
    pub(crate) async fn drive<T>(&self, dialed: Dialed<T>, idle: Idle)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let (link, driven) = Link::new(dialed, idle, self.gone.clone());
        let link = Arc::new(link);
        self.links().came_up(Arc::clone(&link));
        self.dialed.notify_waiters();
        let why = driven.await;
        tracing::debug!(node = %self.name, why, "a connection to a node has ended");
        self.forget(&link);
    }

    fn not_dialed(&self) {
        self.links().failed();
        self.dialed.notify_waiters();
    }

    fn forget(&self, link: &Arc<Link>) {
        self.links().up.retain(|own| !Arc::ptr_eq(own, link));
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    fn may_dial(&self) -> bool {
        let rests = self.resting_until.is_some_and(|until| Instant::now() < until);
        !self.is_dialing && !rests && self.up.len() < CONNECTIONS_MAX
    }

    fn came_up(&mut self, link: Arc<Link>) {
        self.is_dialing = false;
        self.backoff.reset();
        self.resting_until = None;
        self.up.push(link);
    }

    fn failed(&mut self) {
        self.is_dialing = false;
        self.resting_until = Some(Instant::now() + self.backoff.fail());
    }
}
