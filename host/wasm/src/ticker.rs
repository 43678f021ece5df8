//! The engines' clock: an epoch each millisecond while guests run, none while all are idle.
//!
//! An epoch is what makes a guest yield: it bounds how long one poll of a guest takes, and so how soon it can be
//! throttled or ended. A thread of its own, because the async runtime's threads are what guests occupy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::engine::Engines;

const TICK: Duration = Duration::from_millis(1);
/// After so many ticks without a guest the thread sleeps until one runs.
const IDLE_TICKS_MAX: u32 = 50;

/// Tells the thread that guests run. The thread ends with the last handle.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    active: AtomicBool,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    pub(crate) fn start(engines: Arc<Engines>) -> std::io::Result<Arc<Self>> {
        let ticker = Arc::new(Self::default());
        let weak = Arc::downgrade(&ticker);
        let handle = thread::Builder::new().name("wasm-epochs".into()).spawn(move || tick(&weak, &engines))?;
        drop(ticker.thread.set(handle.thread().clone()));
        Ok(ticker)
    }

    /// A guest is about to be polled.
    pub(crate) fn guest_runs(&self) {
        self.active.store(true, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        self.parked.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.wake();
    }
}

fn tick(ticker: &Weak<Ticker>, engines: &Engines) {
    let mut idle = 0;
    while let Some(own) = ticker.upgrade() {
        idle = if own.active.swap(false, Ordering::SeqCst) { 0 } else { idle + 1 };
        if idle < IDLE_TICKS_MAX {
            drop(own);
            thread::sleep(TICK);
            engines.increment_epoch();
            continue;
        }
        own.parked.store(true, Ordering::SeqCst);
        // A guest that began between the swap and the store has seen no parked thread: look again.
        if own.active.load(Ordering::SeqCst) {
            own.parked.store(false, Ordering::SeqCst);
        }
        let sleep = own.parked.load(Ordering::SeqCst);
        drop(own);
        if sleep {
            thread::park();
        }
        idle = 0;
    }
}
