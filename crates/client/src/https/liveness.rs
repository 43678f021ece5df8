//! Whether a server lives and can serve. One that is silent is left for another that answers; a lone one is waited for.
//!
//! A busy server and a dead one are told apart by comparison only: a server is left when it has not answered a small
//! question for a while *and* another one has. The pings below (`servers`) have a patience that suits a lone, busy server, and
//! end connections that lead nowhere. No task: who waits for a server looks after it, one of them for all.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{FusedFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::{sleep, timeout};

use super::servers::{Server, Servers};

/// How long a request waits for its answer before the server is asked whether it lives.
const REQUEST_PATIENCE: Duration = Duration::from_millis(500);
/// The same of watches, where silence is usual.
const WATCH_PATIENCE: Duration = Duration::from_secs(3);
/// How long the server has to itself to answer that question, before the others are asked too.
const ANSWER_ALONE: Duration = Duration::from_millis(250);
/// How long a server is left alone after it has not.
const REST: Duration = Duration::from_millis(50);
/// A write goes to a server that was heard no longer ago, so that few of them are lost track of.
const WRITE_AFTER_HEARD: Duration = Duration::from_secs(1);
/// The question: whether it is in touch with the store, that is, with the other servers. Any answer but that it is not will do.
const QUESTION: &str = "/readyz/etcd";
const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl Servers {
    /// Resolves when a server on which a request waits is silent; never for one that is the only one.
    pub(super) async fn silent(&self, server: &Arc<Server>) {
        if !self.are_several() {
            return std::future::pending().await;
        }
        let mut moves = self.in_use.subscribe();
        loop {
            let _moved = timeout(REQUEST_PATIENCE, moves.changed()).await;
            if self.is_silent(server, REQUEST_PATIENCE).await {
                return;
            }
        }
    }

    /// Resolves when another server than this one is in use.
    pub(super) async fn left(self: Arc<Self>, server: Arc<Server>) {
        let mut moves = self.in_use.subscribe();
        loop {
            if !Arc::ptr_eq(&moves.borrow_and_update(), &server) {
                return;
            }
            if !self.are_several() {
                let _moved = moves.changed().await;
            } else if timeout(WATCH_PATIENCE, moves.changed()).await.is_err() {
                self.is_silent(&server, WATCH_PATIENCE).await;
            }
        }
    }

    /// Whether a write had better not be sent to this server.
    pub(super) async fn is_unfit_for_writes(&self, server: &Arc<Server>) -> bool {
        self.are_several() && self.is_silent(server, WRITE_AFTER_HEARD).await
    }

    /// Whether a server does not answer while another one does, which is in use from then on. Where none does, the first is
    /// waited for. What was found out no longer ago than `patience` holds.
    async fn is_silent(&self, server: &Arc<Server>, patience: Duration) -> bool {
        let _one_for_all = server.asking.lock().await;
        if let Some(lives) = server.known(patience) {
            return !lives;
        }
        // One that is looking for another leader will have found it in a moment.
        let soon = async {
            while !self.answers(server).await {
                sleep(REST).await;
            }
        };
        if timeout(ANSWER_ALONE, soon).await.is_ok() {
            return false;
        }
        let own = self.answers(server).fuse();
        tokio::pin!(own);
        loop {
            tokio::select! {
                lives = &mut own, if !own.is_terminated() => if lives { return false },
                other = self.other_that_answers(server) => match other {
                    Some(other) => {
                        server.note(false);
                        self.replace(std::slice::from_ref(server), &other);
                        return true;
                    }
                    None if own.is_terminated() => return false,
                    // The others may be about to agree on another leader.
                    None => sleep(REST).await,
                },
            }
        }
    }

    async fn other_that_answers(&self, server: &Arc<Server>) -> Option<Arc<Server>> {
        let ask = |other: Arc<Server>| async move { self.answers(&other).await.then_some(other) };
        let asked: FuturesUnordered<_> = self.others(server).into_iter().map(ask).collect();
        let answered = asked.filter_map(std::future::ready);
        tokio::pin!(answered);
        answered.next().await
    }

    async fn answers(&self, server: &Arc<Server>) -> bool {
        let Ok(request) = http::Request::get(format!("{}{QUESTION}", server.url)).body(Full::default()) else {
            return false;
        };
        let Ok(response) = self.pool.request(request).await else { return false };
        let serves = !response.status().is_server_error();
        let answered = serves && Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.is_ok();
        if answered {
            server.heard();
        }
        answered
    }
}
