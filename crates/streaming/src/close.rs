//! How the work over a connection and the connection itself end with each other.

use std::future::Future;
use std::time::Duration;

/// How long the other end may take to hear that all is over, before the connection is cut: what it still sends is read for so
/// long, because a connection that is closed over unread bytes takes back what was sent last.
pub const LINGER: Duration = Duration::from_secs(5);

/// Drives a connection while `work` goes on over it: its result, after `close` and what was queued before have been sent.
/// `None`: the connection ended first.
pub async fn over<T>(
    driver: impl Future<Output = ()>,
    work: impl Future<Output = T>,
    close: impl Future<Output = ()>,
) -> Option<T> {
    let mut driver = std::pin::pin!(driver);
    let done = tokio::select! {
        done = work => done,
        () = driver.as_mut() => return None,
    };
    futures::join!(close, driver);
    Some(done)
}
