//! The servers of a cluster: which there are, which one is in use, and when each was heard.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client as Pool;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ConnectError;
use super::connect::{TlsConnector, pools};

/// The servers of one cluster, and the connections to them.
pub(super) struct Servers {
    pub(super) pool: Pool<TlsConnector, Full<Bytes>>,
    /// One at least.
    all: ArcSwap<Vec<Arc<Server>>>,
    /// Told also when `all` changes.
    pub(super) in_use: watch::Sender<Arc<Server>>,
}

/// One server.
pub(super) struct Server {
    /// `https://host:port`.
    pub(super) url: String,
    known: Mutex<Option<Known>>,
    /// Held by who finds out whether it lives: once for all that wait.
    pub(super) asking: tokio::sync::Mutex<()>,
}

/// What was last found out about a server.
#[derive(Clone, Copy)]
struct Known {
    lives: bool,
    at: Instant,
}

impl Server {
    pub(super) fn new(url: &str) -> Result<Arc<Self>, ConnectError> {
        let uri: Result<http::Uri, _> = url.parse();
        if !uri.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some()) {
            return Err(ConnectError::Server(url.to_owned()));
        }
        let url = url.trim_end_matches('/').to_owned();
        Ok(Arc::new(Self { url, known: Mutex::default(), asking: tokio::sync::Mutex::default() }))
    }

    /// It has just said something.
    pub(super) fn heard(&self) {
        self.note(true);
    }

    /// It has just been found to live, or not to answer while another one does.
    pub(super) fn note(&self, lives: bool) {
        let at = Instant::now();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { lives, at });
    }

    /// Whether it lives, if that was found out no longer ago than `patience`.
    pub(super) fn known(&self, patience: Duration) -> Option<bool> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|known| known.at.elapsed() <= patience).map(|known| known.lives)
    }
}

impl Servers {
    pub(super) fn new(all: Vec<Arc<Server>>, connector: TlsConnector) -> Result<Self, ConnectError> {
        let first = all.first().cloned().ok_or_else(|| ConnectError::Server(String::new()))?;
        let pool = pools().build(connector);
        Ok(Self { pool, all: ArcSwap::from_pointee(all), in_use: watch::Sender::new(first) })
    }

    /// Takes over a new list, with what is known of the servers that stay.
    pub(super) fn set(&self, fresh: Vec<Arc<Server>>) {
        let old = self.all.load();
        let kept = |server: Arc<Server>| old.iter().find(|old| old.url == server.url).map_or(server, Arc::clone);
        let all: Vec<Arc<Server>> = fresh.into_iter().map(kept).collect();
        let Some(first) = all.first().cloned() else { return };
        self.all.store(Arc::new(all.clone()));
        self.in_use.send_modify(|server| {
            if !all.iter().any(|known| Arc::ptr_eq(known, server)) {
                *server = first;
            }
        });
    }

    pub(super) fn are_several(&self) -> bool {
        self.all.load().len() > 1
    }

    /// All but this one.
    pub(super) fn others(&self, server: &Arc<Server>) -> Vec<Arc<Server>> {
        self.all.load().iter().filter(|other| !Arc::ptr_eq(other, server)).cloned().collect()
    }

    /// The one in use, or another, that was not tried yet.
    pub(super) fn next(&self, tried: &[Arc<Server>]) -> Option<Arc<Server>> {
        let is_fresh = |server: &Arc<Server>| !tried.iter().any(|tried| Arc::ptr_eq(tried, server));
        let in_use = Arc::clone(&self.in_use.borrow());
        if is_fresh(&in_use) { Some(in_use) } else { self.all.load().iter().find(|server| is_fresh(server)).cloned() }
    }

    /// Puts a server into use in the place of those that failed; where another has taken that place meanwhile, it stays.
    pub(super) fn replace(&self, failed: &[Arc<Server>], with: &Arc<Server>) {
        self.in_use.send_if_modified(|server| {
            let has_failed = !Arc::ptr_eq(server, with) && failed.iter().any(|failed| Arc::ptr_eq(failed, server));
            if has_failed {
                tracing::info!(from = server.url, to = with.url, "another server of the cluster is in use");
                *server = Arc::clone(with);
            }
            has_failed
        });
    }
}
