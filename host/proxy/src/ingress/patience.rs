//! How long a client's connection may go without a request: a short while in the middle of a head, longer between
//! requests, without bound while a request is in flight.
//!
//! One slow tick a connection does what hyper's own time-out does with a timer a request, and covers HTTP/2 too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wherry_vnet::BoxError;

use super::body::Outgoing;

/// How often a connection is looked at; the time-outs below are kept to this precision.
const TICK: Duration = Duration::from_secs(5);

/// Ticks until a head that is begun and not ended, or a connection that brought none at all, is given up.
const HEADER_READ_TICKS: u32 = 2;

/// Ticks until a kept-alive connection is closed.
const IDLE_TICKS: u32 = 15;

/// What a connection is doing.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    in_flight: AtomicUsize,
    /// Whether a request was ever served, and nothing was read since the last.
    between_requests: AtomicBool,
    quiet_ticks: AtomicU32,
}

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Patience>);

impl Patience {
    /// Counts a request.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Resolves when the client has had time enough.
    pub(crate) async fn ended(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.is_ended() {
            ticks.tick().await;
        }
    }

    /// Counts a tick.
    fn is_ended(&self) -> bool {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            self.quiet_ticks.store(0, Ordering::Relaxed);
            return false;
        }
        let most = if self.between_requests.load(Ordering::Relaxed) { IDLE_TICKS } else { HEADER_READ_TICKS };
        // The first tick of an interval comes at once, and one more may be nearly over when a head begins.
        self.quiet_ticks.fetch_add(1, Ordering::Relaxed) > most
    }

    /// Something was read, or the end.
    pub(crate) fn has_read(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.between_requests.swap(false, Ordering::Relaxed) {
            self.quiet_ticks.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.between_requests.store(true, Ordering::Relaxed);
        self.0.quiet_ticks.store(0, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body whose request is in flight until it is gone.
pub(crate) struct Counted {
    pub(crate) body: Outgoing,
    pub(crate) _in_flight: InFlight,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
