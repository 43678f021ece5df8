//! Places for instances: how many may live at once, so that none is refused half-way and no container takes all.
//!
//! An instance has its places before it is made: one, or more where its module has more memories or tables than one
//! place provides for. A command holds its own until it exits; a request's are those of the pool, held for as long as it
//! runs, and waited for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::ResourcesRequired;

/// A container's requests take at most one part in so many of the pool; further ones wait, so that one container cannot
/// silence the others.
const CONTAINER_PART: u32 = 4;
/// What the pool has for each place.
pub(crate) const MEMORIES_A_PLACE: u32 = 2;
pub(crate) const TABLES_A_PLACE: u32 = 4;
/// Tasks of a component of WASI 0.3 have stacks of their own while they wait; others have one for each instance.
pub(crate) const STACKS_A_CONCURRENT_PLACE: u32 = 2;

/// All places.
pub(crate) struct Places {
    commands: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    per_container: u32,
}

/// What one container's requests take places from.
pub(crate) struct RequestPlaces {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    each: u32,
}

/// One instance's places, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// So many for commands, and for requests, which is the size of the pool.
    pub(crate) fn new(commands: u32, requests: u32) -> Self {
        let semaphore = |places: u32| Arc::new(Semaphore::new(places as usize));
        let per_container = requests / CONTAINER_PART;
        Self { commands: semaphore(commands), requests: semaphore(requests), per_container }
    }

    /// The places of a command that needs so many; `None` while too many are taken.
    pub(crate) fn command(&self, needed: u32) -> Option<Place> {
        let all = Arc::clone(&self.commands).try_acquire_many_owned(needed).ok()?;
        Some(Place { _all: all, _own: None })
    }

    /// The places of a new container's requests, each of which needs so many.
    pub(crate) fn requests(&self, each: u32) -> RequestPlaces {
        let own = self.per_container.max(each) as usize;
        RequestPlaces { all: Arc::clone(&self.requests), own: Arc::new(Semaphore::new(own)), each }
    }
}

impl RequestPlaces {
    /// A request's places, at once or when they are free. `None` never comes while the runtime lives.
    pub(crate) async fn take(&self) -> Option<Place> {
        let own = Arc::clone(&self.own).acquire_many_owned(self.each).await.ok()?;
        let all = Arc::clone(&self.all).acquire_many_owned(self.each).await.ok()?;
        Some(Place { _all: all, _own: Some(own) })
    }
}

/// How many places an instance needs that has so many memories and tables. A garbage-collected heap takes a memory's
/// place, and nothing says beforehand whether there will be one.
pub(crate) fn needed(required: Option<&ResourcesRequired>) -> u32 {
    let of = |number: u32, each: u32| number.div_ceil(each);
    required.map_or(1, |r| of(r.num_memories + 1, MEMORIES_A_PLACE).max(of(r.num_tables, TABLES_A_PLACE)))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn all_of(take: impl FnMut() -> Option<Place>) -> Vec<Place> {
        std::iter::from_fn(take).collect()
    }

    #[test]
    fn one_container_does_not_take_all() {
        let places = Places::new(24, 32);
        let (greedy, modest) = (places.requests(1), places.requests(1));
        let commands = all_of(|| places.command(1));
        assert_eq!(commands.len(), 24);
        let taken = all_of(|| greedy.take().now_or_never().flatten());
        assert_eq!(taken.len(), 8, "a quarter, whatever commands have");
        assert_eq!(all_of(|| modest.take().now_or_never().flatten()).len(), 8);
        drop(commands);
        assert!(greedy.take().now_or_never().is_none(), "and whatever is free");
    }

    #[test]
    fn large_modules_take_several_places() {
        let required = |num_memories, num_tables| ResourcesRequired {
            num_memories,
            num_tables,
            max_initial_memory_size: None,
            max_initial_table_size: None,
        };
        for (memories, tables, places) in [(0, 0, 1), (1, 4, 1), (2, 4, 2), (3, 5, 2), (1, 16, 4)] {
            assert_eq!(needed(Some(&required(memories, tables))), places, "{memories} memories, {tables} tables");
        }
        let places = Places::new(4, 8);
        assert_eq!(all_of(|| places.command(4)).len(), 1);
        let large = places.requests(4);
        let first = large.take().now_or_never().flatten();
        assert!(first.is_some(), "one fits, however small the pool");
        assert!(large.take().now_or_never().is_none());
    }
}
