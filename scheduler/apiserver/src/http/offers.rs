//! Nodes that nobody can connect to, behind NAT: each keeps a connection to every master, over which the master asks it, by
//! HTTP/2 CONNECT, for connections to its endpoints.
//!
//! Of who offers is believed what TLS has verified: that it is the node of that name. On what is carried the endpoints and the
//! API server speak TLS as they do without it. Spawns nothing: a connection is driven by who has accepted it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use wherry_api::routes::{RELAY, RELAY_TO};
use wherry_client::{Carried, Way};

/// How many connections a node may offer: a new one may come before an old one is known to be dead.
const OFFERS_A_NODE_MAX: usize = 4;
/// How long a node that offers none at present is waited for: one whose connection broke makes another.
const RETURN_MOST: Duration = Duration::from_secs(3);
/// How long the node may take to speak HTTP/2, and over an answer.
const ANSWER_MOST: Duration = Duration::from_secs(2);
/// How often a connection is tried, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(5));

/// A connection over which a node is asked.
type Offer = SendRequest<Empty<Bytes>>;

/// The connections there are, by node.
#[derive(Clone, Default)]
pub(crate) struct Offers(Arc<watch::Sender<HashMap<String, Vec<Offer>>>>);

/// The way to the endpoints of a node.
pub(super) struct ByOffer {
    offers: Offers,
    node: String,
}

impl Offers {
    /// Makes use of a connection of the node of that name until it ends, or `until` resolves.
    pub(crate) async fn take<T>(&self, node: &str, io: T, until: impl Future<Output = ()>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_while_idle(true);
        builder.keep_alive_interval(PING.0).keep_alive_timeout(PING.1);
        let handshake = timeout(ANSWER_MOST, builder.handshake(TokioIo::new(io))).await;
        let Ok(Ok((offer, connection))) = handshake else {
            return tracing::debug!(node, "a node does not answer over what it offers");
        };
        if !self.add(node, offer) {
            return tracing::debug!(node, "a node offers more connections than it may");
        }
        tokio::select! {
            ended = connection => tracing::debug!(node, ?ended, "a connection that a node has offered has ended"),
            () = until => {}
        }
        self.prune(node);
    }

    /// The way to a node; `None` where it offers none, and none for a while.
    pub(super) async fn way_to(&self, node: &str) -> Option<ByOffer> {
        let mut known = self.0.subscribe();
        let offers = known.wait_for(|known| known.contains_key(node));
        timeout(RETURN_MOST, offers).await.ok()?.ok()?;
        Some(ByOffer { offers: self.clone(), node: node.to_owned() })
    }

    fn add(&self, node: &str, offer: Offer) -> bool {
        self.0.send_if_modified(|known| {
            let of_node = known.entry(node.to_owned()).or_default();
            let has_place = of_node.len() < OFFERS_A_NODE_MAX;
            if has_place {
                of_node.push(offer);
            }
            has_place
        })
    }

    fn prune(&self, node: &str) {
        self.0.send_modify(|known| {
            let Some(of_node) = known.get_mut(node) else { return };
            of_node.retain(|offer| !offer.is_closed());
            if of_node.is_empty() {
                known.remove(node);
            }
        });
    }

    /// The newest first.
    fn of(&self, node: &str) -> Vec<Offer> {
        self.0.borrow().get(node).into_iter().flatten().rev().cloned().collect()
    }
}

#[async_trait]
impl Way for ByOffer {
    async fn open(&self) -> io::Result<Carried> {
        let mut trouble = io::Error::new(io::ErrorKind::NotConnected, "the node keeps no connection to this master");
        for offer in self.offers.of(&self.node) {
            match timeout(ANSWER_MOST, open(offer, &self.node)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => trouble = error,
                Err(_) => trouble = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(trouble)
    }
}

async fn open(mut offer: Offer, node: &str) -> io::Result<Carried> {
    let request = Request::connect(RELAY).header(RELAY_TO, node).body(Empty::new()).map_err(io::Error::other)?;
    offer.ready().await.map_err(io::Error::other)?;
    let answer = offer.send_request(request).await.map_err(io::Error::other)?;
    if !answer.status().is_success() {
        return Err(io::Error::other(format!("the node answers {}", answer.status())));
    }
    Ok(TokioIo::new(hyper::upgrade::on(answer).await.map_err(io::Error::other)?))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Response, StatusCode};
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use wherry_base::{Drain, Trigger};

    use super::*;

    /// Answers what is asked of the node `n`, with a greeting.
    async fn node(io: DuplexStream, greeting: &'static [u8], drain: Drain) {
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let is_own = request.headers().get(RELAY_TO).is_some_and(|node| node == "n");
            let is_relay = request.uri().authority().is_some_and(|authority| authority.as_str() == RELAY);
            if is_own && is_relay {
                drain.spawn(async move {
                    let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
                    io.write_all(greeting).await.unwrap();
                    std::future::pending::<()>().await;
                });
            }
            let status = if is_own && is_relay { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = status;
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(TokioIo::new(io), service).await);
    }

    /// Offers a connection of a node that calls itself so; the end of both sides is the drop of what is returned.
    async fn offer(offers: &Offers, name: &'static str, greeting: &'static [u8]) -> Trigger {
        let trigger = Trigger::new();
        let (ours, theirs) = tokio::io::duplex(4096);
        let (before, taking) = (offers.of(name).len(), offers.clone());
        trigger.drain().spawn(node(theirs, greeting, trigger.drain()));
        trigger.drain().spawn_graceful(async move { taking.take(name, ours, std::future::pending()).await });
        while offers.of(name).len() == before {
            tokio::task::yield_now().await;
        }
        trigger
    }

    async fn greeting(offers: &Offers, node: &str) -> io::Result<String> {
        let mut io = offers.way_to(node).await.expect("it has offered one").open().await?;
        let mut greeting = [0; 3];
        io.read_exact(&mut greeting).await?;
        Ok(String::from_utf8_lossy(&greeting).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_reached_over_the_newest_of_its_connections_as_long_as_there_is_one() {
        let offers = Offers::default();
        assert!(offers.way_to("n").await.is_none());
        let first = offer(&offers, "n", b"one").await;
        let second = offer(&offers, "n", b"two").await;
        assert_eq!(greeting(&offers, "n").await.unwrap(), "two");
        assert!(second.stop(Duration::from_secs(60)).await);
        assert_eq!(greeting(&offers, "n").await.unwrap(), "one");
        assert!(offers.way_to("m").await.is_none());
        assert!(first.stop(Duration::from_secs(60)).await);
        assert!(offers.way_to("n").await.is_none());
    }

    #[tokio::test]
    async fn a_node_that_refuses_is_not_reached() {
        let offers = Offers::default();
        let _node = offer(&offers, "m", b"one").await;
        let refused = greeting(&offers, "m").await.unwrap_err().to_string();
        assert!(refused.contains("404"), "{refused}");
    }
}
