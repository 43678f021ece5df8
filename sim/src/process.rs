//! A host while it runs: a runtime of its own on the world's one thread, which is stopped, goes on, or is dropped with
//! everything in it.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::runtime::{Builder, Runtime};
use wherry_base::{Rng, simulate_blocking};

use crate::net::up_to;
use crate::time::Times;

/// How long the disk takes at the most where it is not slow.
const DISK_MOST: Duration = Duration::from_millis(4);

thread_local! {
    /// That of the host whose turn it is.
    static PACE: RefCell<Option<Arc<Pace>>> = const { RefCell::new(None) };
}

/// How fast a host's disk is.
pub struct Pace {
    most_millis: AtomicU64,
    rng: Rng,
}

impl Pace {
    pub fn new(seed: u64) -> Arc<Self> {
        let most_millis = AtomicU64::new(0);
        let pace = Self { most_millis, rng: Rng::seeded(seed) };
        pace.set(None);
        Arc::new(pace)
    }

    /// How long the disk takes at the most from now on; its usual time where none is given.
    pub fn set(&self, most: Option<Duration>) {
        let millis = u64::try_from(most.unwrap_or(DISK_MOST).as_millis()).unwrap_or(u64::MAX);
        self.most_millis.store(millis, Ordering::Relaxed);
    }

    fn draw(&self) -> Duration {
        up_to(&self.rng, Duration::from_millis(self.most_millis.load(Ordering::Relaxed)))
    }
}

fn current_pace() -> Duration {
    PACE.with_borrow(|pace| pace.as_ref().map_or(Duration::ZERO, |pace| pace.draw()))
}

/// Makes this thread one that simulates.
pub fn simulate() {
    simulate_blocking(current_pace);
}

/// A running host.
pub struct Process {
    runtime: Runtime,
    pub times: Times,
    pace: Arc<Pace>,
    pub is_paused: bool,
}

impl Process {
    pub fn start(world: Duration, skew: SignedDuration, pace: Arc<Pace>) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let times = {
            let _entered = runtime.enter();
            Times::starting(world, skew)
        };
        Ok(Self { runtime, times, pace, is_paused: false })
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Does something on the host's behalf.
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        work()
    }

    /// The host goes on up to a moment of the world, unless it is paused.
    pub fn run_until(&self, moment: Duration) {
        if !self.is_paused {
            self.drive(async { self.times.until(moment).await });
        }
    }

    /// Goes on at a moment of the world, which comes as a surprise.
    pub fn resume(&mut self, moment: Duration) {
        self.is_paused = false;
        self.drive(async {
            let missed = moment.saturating_sub(self.times.now());
            tokio::time::advance(missed).await;
        });
    }

    fn drive(&self, work: impl Future<Output = ()>) {
        PACE.set(Some(Arc::clone(&self.pace)));
        self.runtime.block_on(work);
    }
}
