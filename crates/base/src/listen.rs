//! Accepting connections: a bounded number at a time, errors survived, an end with the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Drain;

/// How long accepting rests after an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener with places.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    places: Arc<Semaphore>,
    drain: Drain,
}

/// A connection, and the place that it takes until this is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, with `TCP_NODELAY`.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// To be held as long as the connection is served.
    pub place: OwnedSemaphorePermit,
}

impl Acceptor {
    /// Serves at most `connections_max` at a time; further ones wait in the kernel's backlog.
    pub fn new(listener: TcpListener, connections_max: usize, drain: Drain) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections_max)), drain }
    }

    /// The next connection; `None` once the drain has begun.
    pub async fn next(&self) -> Option<Accepted> {
        loop {
            let accepted = tokio::select! {
                () = self.drain.ended() => return None,
                accepted = self.accept() => accepted?,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    let address = self.listener.local_addr().ok();
                    tracing::warn!(%error, ?address, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> Option<std::io::Result<Accepted>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let accepted = self.listener.accept().await;
        Some(accepted.map(|(stream, peer)| {
            let _slower_but_works = stream.set_nodelay(true);
            Accepted { stream, peer, place }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trigger;

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_and_the_drain_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let trigger = Trigger::new();
        let acceptor = Acceptor::new(listener, 1, trigger.drain());
        let _clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let first = acceptor.next().await.unwrap();
        let mut second = std::pin::pin!(acceptor.next());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(first);
        assert!(second.await.is_some());
        trigger.stop(Duration::ZERO).await;
        assert!(acceptor.next().await.is_none());
    }
}
