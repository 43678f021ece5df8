//! Certificates are renewed at two thirds of their life, without a restart.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wherry_base::{Backoff, Clock};
use wherry_pki::LiveCertificate;

/// How long is slept at the most before the clock is looked at again: it may have been set, or the machine asleep.
const LOOK_MOST: Duration = Duration::from_secs(600);
/// The first and the longest wait after a renewal that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// When a certificate is to be renewed: a loop asks for `due`, renews, and tells how it went.
pub struct Renewal {
    what: &'static str,
    live: Arc<LiveCertificate>,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
}

impl Renewal {
    /// Of a certificate that is called `what` in the log.
    pub fn new(what: &'static str, live: &Arc<LiveCertificate>, clock: &Arc<dyn Clock>) -> Self {
        let backoff = Backoff::new(RETRY.0, RETRY.1);
        Self { what, live: Arc::clone(live), clock: Arc::clone(clock), backoff }
    }

    /// Resolves when it is time, at once where there is no certificate yet; the moment.
    pub async fn due(&self) -> Timestamp {
        loop {
            let now = self.clock.now();
            let left = self.live.validity().map(|validity| validity.renewal().duration_since(now));
            let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
            if left.is_zero() {
                return now;
            }
            tokio::time::sleep(left.min(LOOK_MOST)).await;
        }
    }

    /// Waits a while where it went wrong.
    pub async fn done(&mut self, outcome: anyhow::Result<()>) {
        let what = self.what;
        match outcome {
            Ok(()) => {
                tracing::debug!(what, "a certificate was renewed");
                self.backoff.reset();
            }
            Err(error) => {
                tracing::warn!(what, error = format!("{error:#}"), "a certificate cannot be renewed yet; trying again");
                tokio::time::sleep(self.backoff.fail()).await;
            }
        }
    }
}
