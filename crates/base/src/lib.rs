//! What both planes lean on: the clock, seeded randomness, back-off, tasks with an owner and an end, work that waits
//! for the disk, and listeners whose connections have a bound.
//!
//! This is the only crate that reads the clock or draws random numbers (`xtask tidy` checks that), so that
//! everything above it can be driven by a test. It knows nothing of Kubernetes.

mod backoff;
mod blocking;
mod clock;
mod drain;
mod listen;
mod rng;
mod watched;

pub use backoff::Backoff;
pub use blocking::{simulate_blocking, spawn_blocking};
pub use clock::{Clock, SystemClock};
pub use drain::{Drain, Trigger, Vital, vital};
pub use listen::{Accepted, Acceptor};
pub use rng::Rng;
pub use watched::watched;
