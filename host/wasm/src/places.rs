//! Places in the pool of instances: who may have one, so that no container takes all.
//!
//! An instance has a place before it is made. Commands hold theirs until they exit and so leave some to requests;
//! requests hold theirs for as long as they run, and wait for one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One part in so many of the pool is kept for requests, so that commands cannot silence every HTTP module.
const KEPT_FOR_REQUESTS: u32 = 8;
/// A container's requests take at most one part in so many of the pool; further ones wait.
const CONTAINER_PART: u32 = 4;

/// The pool's places.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    per_container: usize,
}

/// What one container's requests take places from.
pub(crate) struct RequestPlaces {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _held: [OwnedSemaphorePermit; 2],
}

impl Places {
    /// `instances` is the size of the pool.
    pub(crate) fn new(instances: u32) -> Self {
        let semaphore = |places: u32| Arc::new(Semaphore::new(places.max(1) as usize));
        Self {
            all: semaphore(instances),
            commands: semaphore(instances - instances / KEPT_FOR_REQUESTS),
            per_container: (instances / CONTAINER_PART).max(1) as usize,
        }
    }

    /// A command's place; `None` while all are taken.
    pub(crate) fn command(&self) -> Option<Place> {
        let own = Arc::clone(&self.commands).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _held: [own, all] })
    }

    /// The places of a new container's requests.
    pub(crate) fn requests(&self) -> RequestPlaces {
        RequestPlaces { all: Arc::clone(&self.all), own: Arc::new(Semaphore::new(self.per_container)) }
    }
}

impl RequestPlaces {
    /// A request's place, at once or when one is free. `None` never comes while the runtime lives.
    pub(crate) async fn take(&self) -> Option<Place> {
        let own = Arc::clone(&self.own).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _held: [own, all] })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn neither_commands_nor_one_container_take_all() {
        let places = Places::new(16);
        let commands: Vec<Place> = std::iter::from_fn(|| places.command()).collect();
        assert_eq!(commands.len(), 14);
        let (greedy, modest) = (places.requests(), places.requests());
        let first = greedy.take().now_or_never().flatten();
        assert!(first.is_some() && modest.take().now_or_never().flatten().is_some(), "two are kept for requests");
        drop(commands);
        let taken: Vec<Place> = std::iter::from_fn(|| greedy.take().now_or_never().flatten()).collect();
        assert_eq!(taken.len(), 3, "a container has a quarter");
        assert!(modest.take().now_or_never().flatten().is_some());
    }
}
