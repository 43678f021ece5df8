//! Whether the other end of a connection is there: asked while streams are open, so that their ends know within a second.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::heard::Heard;

/// How long after an answer the next PING is sent, while streams are open.
const PING_EVERY: Duration = Duration::from_millis(300);
/// An answer is waited for this long at a time. A process that is itself held up misses one such time, not several.
const LISTEN: Duration = Duration::from_millis(150);
/// After how many of these times without hearing anything, an answer or other, the other end counts as dead.
const SILENCES_MAX: u32 = 4;

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing was heard for too long.
    Dead,
    /// It had no streams for long.
    Idle,
}

/// What becomes of a connection without streams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Idle {
    /// It ends after that time.
    EndAfter(Duration),
    /// It is kept, and tried as often as that.
    TryEvery(Duration),
}

/// Counts the streams of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Load(watch::Sender<usize>);

/// A stream that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counting(Load);

impl Load {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn streams(&self) -> usize {
        *self.0.borrow()
    }

    pub(crate) fn begin(&self) -> Counting {
        self.0.send_modify(|streams| *streams += 1);
        Counting(self.clone())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.0.send_modify(|streams| *streams -= 1);
    }
}

/// Resolves when the connection is to be given up: its other end is dead, or it had no streams for too long.
pub(crate) async fn watch(mut pings: PingPong, load: &Load, heard: &Heard, idle: Idle) -> Verdict {
    let mut streams = load.0.subscribe();
    let (Idle::EndAfter(most) | Idle::TryEvery(most)) = idle;
    loop {
        match (timeout(most, streams.wait_for(|streams| *streams > 0)).await, idle) {
            (Ok(Ok(_)), _) | (Err(_), Idle::TryEvery(_)) => {}
            (Ok(Err(_)), _) | (Err(_), Idle::EndAfter(_)) => return Verdict::Idle,
        }
        if pings.send_ping(Ping::opaque()).is_err() || !is_answered(&mut pings, heard).await {
            return Verdict::Dead;
        }
        sleep(PING_EVERY).await;
    }
}

async fn is_answered(pings: &mut PingPong, heard: &Heard) -> bool {
    let mut pong = pin!(poll_fn(|context| pings.poll_pong(context)));
    let mut silences = 0;
    while silences < SILENCES_MAX {
        let before = heard.times();
        if let Ok(answer) = timeout(LISTEN, &mut pong).await {
            return answer.is_ok();
        }
        silences = if heard.times() == before { silences + 1 } else { 0 };
    }
    false
}
