//! A whole cluster on one thread: masters, nodes and people, whose clocks, network, disks and troubles all follow from a
//! seed; and checkers of what came of it.
//!
//! What runs is what runs elsewhere: store, API server, controllers and agent. What is simulated is what they stand on: time
//! (tokio's, paused), random numbers (`entropy`), disks (`disk`), the network (`net`), and the runtime of guests. What that
//! leaves out, `docs/adr/0012` says.

mod bug;
mod check;
mod disk;
mod entropy;
mod faults;
mod feed;
mod history;
mod master;
mod net;
mod node;
mod process;
mod record;
mod remote;
mod time;
mod user;
mod world;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wherry_base::{Clock, SystemClock};
use wherry_pki::Authority;

pub use bug::Bug;
pub use world::{Size, Spans};

use crate::history::History;
use crate::world::World;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How large the cluster is.
    pub size: Size,
    /// How long it lives.
    pub spans: Spans,
    /// What is wrong with the world, if anything.
    pub bug: Option<Bug>,
}

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The same for equal histories.
    pub digest: u64,
    /// How much was done: calls of clients, changes that watches showed, pods that ran, troubles.
    pub counts: [usize; 4],
    /// What must not have been, in words.
    pub violations: Vec<String>,
    /// Everything that happened, and when.
    pub story: Vec<(Duration, String)>,
}

/// Runs a scenario with a seed. The first run of a process follows from its seed alone.
pub fn run(seed: u64, scenario: Scenario) -> Report {
    let authority = authority();
    let lived = entropy::seeded(seed, || {
        process::simulate();
        let Scenario { size, spans, bug } = scenario;
        World::new(seed, size, bug, authority)?.run(spans)
    });
    match lived {
        Ok(history) => report(history),
        Err(error) => {
            let violations = vec![format!("{error:#}")];
            Report { digest: 0, counts: [0; 4], violations, story: vec![] }
        }
    }
}

fn report(history: History) -> Report {
    let shown = history.streams.iter().map(|stream| stream.seen.len()).sum();
    let counts = [history.calls.len(), shown, history.runs.len(), history.faults.len()];
    let violations = check::check(&history);
    Report { digest: history.digest(), counts, violations, story: history.story() }
}

/// One for all runs: its keys do not follow from a seed, and nothing that is checked follows from them.
fn authority() -> Arc<Authority> {
    static AUTHORITY: OnceLock<Arc<Authority>> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "a key can always be made")]
    let make = || Arc::new(Authority::generate("simulation", SystemClock.now()).expect("an authority"));
    Arc::clone(AUTHORITY.get_or_init(make))
}
