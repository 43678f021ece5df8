//! A container's CPU: time spent in its guests is measured at each poll and, where there is a limit, paid from a token bucket.
//!
//! An empty bucket parks the guest until the debt is paid, so the mean is exact whatever the length of a poll;
//! epochs (see `ticker`) bound that length. Blocked time costs nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep};

use crate::ticker::Ticker;

/// How much unused time a container may save up.
const BURST: Duration = Duration::from_millis(5);

/// What a container has used, and what it may still use.
#[derive(Debug)]
pub(crate) struct Cpu {
    used_nanos: AtomicU64,
    bucket: Option<Bucket>,
    ticker: Arc<Ticker>,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of a core.
    quota_milli: u32,
    /// Nanoseconds of CPU time left; negative: debt.
    left_nanos: AtomicI64,
    refilled: Mutex<Instant>,
}

impl Cpu {
    /// `None` is no limit.
    pub(crate) fn new(quota_milli: Option<u32>, ticker: Arc<Ticker>) -> Arc<Self> {
        let bucket = quota_milli.map(|quota_milli| Bucket {
            quota_milli: quota_milli.max(1),
            left_nanos: AtomicI64::new(nanos(BURST)),
            refilled: Mutex::new(Instant::now()),
        });
        Arc::new(Self { used_nanos: AtomicU64::new(0), bucket, ticker })
    }

    pub(crate) fn used_nanos(&self) -> u64 {
        self.used_nanos.load(Ordering::Relaxed)
    }

    /// What time in a guest is measured by. This thread's CPU time is exact, but costs a system call: it is read where a
    /// limit depends on it. Elsewhere time that passed is near enough: a guest that waits is not polled.
    fn clock(&self) -> ClockId {
        if self.bucket.is_some() { ClockId::ThreadCPUTime } else { ClockId::Monotonic }
    }

    fn charge(&self, spent: Duration) {
        self.used_nanos.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(bucket) = &self.bucket {
            bucket.left_nanos.fetch_sub(nanos(spent), Ordering::Relaxed);
        }
    }

    /// How long the container must wait before it may run; `None`: it may now.
    fn debt(&self) -> Option<Duration> {
        let bucket = self.bucket.as_ref()?;
        bucket.refill(Instant::now());
        let left = bucket.left_nanos.load(Ordering::Relaxed);
        let owed = u64::try_from(-left).ok().filter(|owed| *owed > 0)?;
        Some(Duration::from_nanos(owed.saturating_mul(1000) / u64::from(bucket.quota_milli)))
    }
}

impl Bucket {
    fn refill(&self, now: Instant) {
        let mut refilled = self.refilled.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(*refilled);
        *refilled = now;
        let earned = nanos(passed).saturating_mul(i64::from(self.quota_milli)) / 1000;
        let left = self.left_nanos.load(Ordering::Relaxed).saturating_add(earned);
        let excess = (left - nanos(BURST)).max(0);
        self.left_nanos.fetch_add(earned - excess, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A guest's future, polled only while its container has CPU time left.
pub(crate) struct Throttled<'a, F> {
    guest: Pin<&'a mut F>,
    cpu: &'a Cpu,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<'a, F: Future> Throttled<'a, F> {
    pub(crate) const fn new(guest: Pin<&'a mut F>, cpu: &'a Cpu) -> Self {
        Self { guest, cpu, waiting: None }
    }
}

impl<F: Future> Future for Throttled<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(waiting) = &mut self.waiting {
            if waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        if let Some(debt) = self.cpu.debt() {
            let mut waiting = Box::pin(tokio::time::sleep(debt));
            if waiting.as_mut().poll(context).is_pending() {
                self.waiting = Some(waiting);
                return Poll::Pending;
            }
        }
        self.cpu.ticker.guest_runs();
        let clock = self.cpu.clock();
        let before = time(clock);
        let outcome = self.guest.as_mut().poll(context);
        self.cpu.charge(time(clock).saturating_sub(before));
        outcome
    }
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
