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

/// The same where streams cannot go elsewhere, so that to give a connection up costs more than to wait: a master may be busy.
const SILENCES_BORNE_MAX: u32 = 64;

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
    /// It is kept and tried as often as that, with streams as without, and given up for longer silence only.
    BearWith(Duration),
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
    let most = match idle {
        Idle::EndAfter(most) | Idle::TryEvery(most) => most,
        Idle::BearWith(every) => return bear_with(pings, heard, every).await,
    };
    loop {
        match (timeout(most, streams.wait_for(|streams| *streams > 0)).await, idle) {
            (Ok(Ok(_)), _) | (Err(_), Idle::TryEvery(_)) => {}
            _ => return Verdict::Idle,
        }
        if pings.send_ping(Ping::opaque()).is_err() || !is_answered(&mut pings, heard, SILENCES_MAX).await {
            return Verdict::Dead;
        }
        sleep(PING_EVERY).await;
    }
}

async fn bear_with(mut pings: PingPong, heard: &Heard, every: Duration) -> Verdict {
    loop {
        sleep(every).await;
        if pings.send_ping(Ping::opaque()).is_err() || !is_answered(&mut pings, heard, SILENCES_BORNE_MAX).await {
            return Verdict::Dead;
        }
    }
}

async fn is_answered(pings: &mut PingPong, heard: &Heard, silences_max: u32) -> bool {
    let mut pong = pin!(poll_fn(|context| pings.poll_pong(context)));
    let mut silences = 0;
    while silences < silences_max {
        let before = heard.times();
        if let Ok(answer) = timeout(LISTEN, &mut pong).await {
            return answer.is_ok();
        }
        silences = if heard.times() == before { silences + 1 } else { 0 };
    }
    false
}
