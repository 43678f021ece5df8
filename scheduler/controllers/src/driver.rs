//! The one driver of all controllers: changes become keys, a key becomes a plan, the plan is carried out.
//!
//! Owns the queue of each controller, its workers, back-off after failures, and expectations: a key whose changes
//! the informers do not show yet waits, so that a decision never rests on a picture from before its last one. A key
//! whose decisions take long rests in between, so that ten thousand changes of one object's pods cost a few looks.
//! Lacks polling: an idle controller wakes nobody.

mod events;
mod execute;
mod expect;
mod rest;

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use wherry_api::{Error, ObjectKey, Reason};
use wherry_base::{Clock, Drain};
use wherry_client::{Client, Informer, WorkQueue};

use crate::plan::Plan;
use crate::world::{Known, View, World};
pub(crate) use events::Events;
pub(crate) use execute::Executor;
use expect::Expectations;
use rest::Rests;

/// How many keys of one controller are worked on at once.
const WORKERS: usize = 4;
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// How long a key waits for the informers to show its changes; they may have been undone before they were shown.
const EXPECTATION_MOST: Duration = Duration::from_secs(10);

/// A controller: which changes concern which keys, and what a key needs.
pub(crate) trait Controller: Send + Sync + 'static {
    /// Its name, in logs and as the source of its events: what Kubernetes calls it.
    const NAME: &'static str;
    /// The least time between two decisions about one key.
    const REST_LEAST: Duration = Duration::ZERO;
    /// What a decision is about.
    type Key: Clone + Debug + Display + Eq + Hash + Send + Sync + 'static;

    /// Follows the informers that it reads.
    fn follow(&self, world: &Arc<World>, sources: &Sources<Self::Key>);

    /// Decides. Sees nothing but the view.
    fn reconcile(&self, view: &View, key: &Self::Key) -> Plan;
}

/// What all controllers share.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) client: Client,
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) drain: Drain,
}

/// Where a controller says which informers it follows.
pub(crate) struct Sources<Key> {
    queue: Arc<WorkQueue<Key>>,
    clock: Arc<dyn Clock>,
    drain: Drain,
}

impl Driver {
    /// Starts the tasks of a controller.
    pub(crate) fn run<C: Controller>(&self, controller: C) {
        let queue = Arc::new(WorkQueue::new(RETRY_FIRST, RETRY_MOST));
        let (clock, drain) = (Arc::clone(&self.clock), self.drain.clone());
        controller.follow(&self.world, &Sources { queue: Arc::clone(&queue), clock, drain });
        let worker = Arc::new(Worker {
            controller,
            queue,
            driver: self.clone(),
            executor: Executor {
                source: C::NAME,
                client: self.client.clone(),
                events: self.events.clone(),
                notes: Arc::clone(&self.world.notes),
            },
            expectations: Expectations::default(),
            rests: Rests::default(),
        });
        for _ in 0..WORKERS {
            self.drain.vital().spawn(Arc::clone(&worker).run());
        }
    }
}

impl<Key: Clone + Eq + Hash + Send + Sync + 'static> Sources<Key> {
    /// For what a controller notes when it hears of it.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Asks for the keys that a change stands for: the object as it was and as it is, if it was and is.
    pub(crate) fn follow_changes<P, F>(&self, informer: &Informer<P>, keys: F)
    where
        P: Known,
        F: Fn(&ObjectKey, Option<&P>, Option<&P>) -> Vec<Key> + Send + Sync + 'static,
    {
        let queue = Arc::clone(&self.queue);
        self.drain.vital().spawn(follow(informer.clone(), move |key, old: Option<&P>, new: Option<&P>| {
            keys(key, old, new).into_iter().for_each(|key| queue.add(key));
        }));
    }

    /// Asks for the keys that an object stands for, whenever it appears, changes or goes: as it was and as it is.
    pub(crate) fn follow<P, F>(&self, informer: &Informer<P>, keys: F)
    where
        P: Known,
        F: Fn(&ObjectKey, &P) -> Vec<Key> + Send + Sync + 'static,
    {
        self.follow_changes(informer, move |key, old, new| {
            old.into_iter().chain(new).flat_map(|object| keys(key, object)).collect()
        });
    }
}

impl Sources<ObjectKey> {
    /// Asks for the very objects that change.
    pub(crate) fn follow_own<P: Known>(&self, informer: &Informer<P>) {
        self.follow_changes(informer, |key, _, _| vec![key.clone()]);
    }
}

/// Calls `visit` for each object that is there, and again for each that changes: as it was, and as it is.
pub(crate) async fn follow<P: Known>(
    informer: Informer<P>,
    visit: impl Fn(&ObjectKey, Option<&P>, Option<&P>) + Send + Sync,
) {
    let mut changes = informer.changes();
    let mut seen = informer.snapshot();
    seen.iter().for_each(|(key, object)| visit(key, None, Some(object)));
    loop {
        let mut changed = Vec::new();
        let is_whole = match changes.recv().await {
            Ok(key) => {
                changed.push(key);
                gather(&mut changes, &mut changed)
            }
            Err(RecvError::Lagged(_)) => false,
            Err(RecvError::Closed) => return,
        };
        let fresh = informer.snapshot();
        if is_whole {
            changed.sort_unstable();
            changed.dedup();
            changed.iter().for_each(|key| visit(key, seen.get(key), fresh.get(key)));
        } else {
            seen.iter().for_each(|(key, object)| visit(key, Some(object), fresh.get(key)));
            fresh.iter().for_each(|(key, object)| visit(key, None, Some(object)));
        }
        seen = fresh;
    }
}

/// Takes the changes that have arrived already; false where some are lost.
fn gather(changes: &mut tokio::sync::broadcast::Receiver<ObjectKey>, into: &mut Vec<ObjectKey>) -> bool {
    loop {
        match changes.try_recv() {
            Ok(key) => into.push(key),
            Err(TryRecvError::Lagged(_)) => return false,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return true,
        }
    }
}

struct Worker<C: Controller> {
    controller: C,
    queue: Arc<WorkQueue<C::Key>>,
    driver: Driver,
    executor: Executor,
    expectations: Expectations<C::Key>,
    rests: Rests<C::Key>,
}

impl<C: Controller> Worker<C> {
    async fn run(self: Arc<Self>) {
        self.driver.world.synced().await;
        loop {
            let key = self.queue.take().await;
            match self.work(&key).await {
                Ok(()) => self.queue.done(&key),
                Err(error) => {
                    tracing::debug!(controller = C::NAME, %key, %error, "tries again");
                    self.queue.failed(&key);
                }
            }
        }
    }

    async fn work(&self, key: &C::Key) -> Result<(), Error> {
        if let Some(left) = self.rests.left(key) {
            self.queue.add_after(key.clone(), left);
            return Ok(());
        }
        let view = self.driver.world.view(self.driver.clock.now());
        if !self.expectations.are_met(key, &view) {
            self.queue.add_after(key.clone(), EXPECTATION_MOST);
            return Ok(());
        }
        let plan = self.decide(&view, key)?;
        drop(view);
        let (done, outcome) = self.executor.carry_out(plan.actions).await;
        let is_waiting = !done.is_empty();
        self.expectations.expect(key, done);
        if is_waiting {
            // The informers may have shown the changes before they were expected.
            self.queue.add(key.clone());
        }
        if let Some(wait) = plan.requeue_after {
            self.queue.add_after(key.clone(), wait);
        }
        outcome
    }

    /// One that panics is this object's trouble, and no other's.
    fn decide(&self, view: &View, key: &C::Key) -> Result<Plan, Error> {
        let reconcile = || self.controller.reconcile(view, key);
        let decided = catch_unwind(AssertUnwindSafe(|| self.rests.during(key, C::REST_LEAST, reconcile)));
        decided.map_err(|_| {
            tracing::error!(controller = C::NAME, %key, "a decision panicked, which is a bug; it is tried again later");
            Error::new(Reason::InternalError, "the decision panicked")
        })
    }
}
