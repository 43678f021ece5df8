//! Kept-alive HTTP/1.1 connections to pods, over the pod network.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use wherry_base::Drain;
use wherry_vnet::{Body, DialError, Network};

/// How long a pod may take to accept a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a pod may take from the request to the head of its answer.
pub(crate) const RESPONSE_HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// How many idle connections are kept to one address, how long, and how often the old ones are looked for.
const IDLE_PER_ADDRESS_MAX: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// The connections that wait for a request.
pub(crate) struct Pool {
    network: Arc<Network>,
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    tasks: Drain,
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

/// A connection in use, to be given back after its answer's last byte.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    address: SocketAddr,
    sender: SendRequest<Body>,
}

/// Why there is no answer.
pub(crate) enum SendError {
    /// Nothing was sent: the request is whole, for another endpoint.
    Unsent(Box<Request<Body>>),
    /// The pod takes no connection, nothing was sent.
    NotConnected(Box<Request<Body>>, DialError),
    /// The pod may have seen the request, and ended. The request, where it is whole yet.
    Broken(Option<Box<Request<Body>>>),
    /// The head of the answer did not come.
    TimedOut,
}

impl Pool {
    pub(crate) fn new(network: Arc<Network>, tasks: Drain) -> Arc<Self> {
        Arc::new(Self { network, idle: Mutex::default(), tasks })
    }

    /// Closes connections that were idle for long, for ever.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let now = Instant::now();
            self.lock().retain(|_, idle| {
                idle.retain(|idle| !idle.sender.is_closed() && now.duration_since(idle.since) < IDLE_TIMEOUT);
                !idle.is_empty()
            });
        }
    }

    /// Sends a request to an address and waits for the head of the answer. One that is asked again gets a connection of
    /// its own: of those that are kept, others may have been closed at the same time, or ended by that very request.
    pub(crate) async fn send(
        self: &Arc<Self>,
        address: SocketAddr,
        mut request: Request<Body>,
        is_repeated: bool,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        while let Some(sender) = (!is_repeated).then(|| self.take(address)).flatten() {
            match self.send_over(sender, address, request).await {
                Err(SendError::Unsent(unsent)) => request = *unsent,
                sent => return sent,
            }
        }
        match self.connect(address).await {
            Ok(sender) => self.send_over(sender, address, request).await,
            Err(why) => Err(SendError::NotConnected(Box::new(request), why)),
        }
    }

    async fn send_over(
        self: &Arc<Self>,
        mut sender: SendRequest<Body>,
        address: SocketAddr,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        match timeout(RESPONSE_HEADER_TIMEOUT, sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok((response, Lease { pool: Arc::clone(self), address, sender })),
            Ok(Err(mut failed)) => Err(match failed.take_message() {
                Some(unsent) => SendError::Unsent(Box::new(unsent)),
                None => SendError::Broken(None),
            }),
            Err(_elapsed) => Err(SendError::TimedOut),
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<SendRequest<Body>, DialError> {
        let dialed = timeout(CONNECT_TIMEOUT, self.network.dial(address)).await;
        let stream = dialed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (sender, connection) =
            Builder::new().handshake(TokioIo::new(stream)).await.map_err(|_| DialError::Refused)?;
        self.tasks.spawn_graceful(async move {
            let _its_requests_were_told = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// The youngest connection that can take a request now.
    fn take(&self, address: SocketAddr) -> Option<SendRequest<Body>> {
        let mut all = self.lock();
        let idle = all.get_mut(&address)?;
        idle.retain(|idle| !idle.sender.is_closed());
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(idle.swap_remove(ready).sender)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(crate) fn give_back(self) {
        let mut all = self.pool.lock();
        let idle = all.entry(self.address).or_default();
        if idle.len() < IDLE_PER_ADDRESS_MAX && !self.sender.is_closed() {
            idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}
