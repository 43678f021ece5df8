//! A queue of keys to look at: each at most once, later if asked, with back-off after failures.
//!
//! Follows client-go's `workqueue`: a key that is added while it is being worked on comes again afterwards. Delays
//! are kept in a heap of due times; an idle queue wakes nobody.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use wherry_base::Backoff;

/// A queue shared by those who add keys and the workers that take them. Bounded by the number of distinct keys.
pub struct WorkQueue<Key> {
    first: Duration,
    most: Duration,
    state: Mutex<State<Key>>,
    changed: Notify,
}

struct State<Key> {
    ready: VecDeque<Key>,
    /// Keys in `ready`.
    waiting: HashSet<Key>,
    working: HashSet<Key>,
    /// Keys that were added while being worked on.
    again: HashSet<Key>,
    delayed: BTreeMap<(Instant, u64), Key>,
    due: HashMap<Key, (Instant, u64)>,
    failures: HashMap<Key, Backoff>,
    ticket: u64,
}

impl<Key: Clone + Eq + Hash + Send + 'static> WorkQueue<Key> {
    /// An empty queue whose failed keys wait from `first` to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            working: HashSet::new(),
            again: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            ticket: 0,
        };
        Self { first, most, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Adds a key, to be taken as soon as a worker is free.
    pub fn add(&self, key: Key) {
        self.lock().add(key);
        self.changed.notify_one();
    }

    /// Adds a key once `delay` is over; the sooner of two such requests counts.
    pub fn add_after(&self, key: Key, delay: Duration) {
        self.lock().add_at(key, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Takes a key; the worker must say `done` or `failed` of it.
    pub async fn take(&self) -> Key {
        loop {
            let next_due = {
                let mut state = self.lock();
                state.release(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.delayed.keys().next().map(|(due, _)| *due)
            };
            match next_due {
                Some(due) => {
                    let _elapsed = tokio::time::timeout_at(due, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// The key's work is done: its failures are forgotten.
    pub fn done(&self, key: &Key) {
        let mut state = self.lock();
        state.failures.remove(key);
        state.finish(key);
        self.changed.notify_one();
    }

    /// The key's work failed: it comes again after its back-off.
    pub fn failed(&self, key: &Key) {
        let mut state = self.lock();
        let (first, most) = (self.first, self.most);
        let wait = state.failures.entry(key.clone()).or_insert_with(|| Backoff::new(first, most)).fail();
        state.finish(key);
        state.add_at(key.clone(), Instant::now() + wait);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<Key>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Key: Clone + Eq + Hash> State<Key> {
    fn add(&mut self, key: Key) {
        if self.working.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: Key, due: Instant) {
        if let Some(present) = self.due.get(&key).copied() {
            if present.0 <= due {
                return;
            }
            self.delayed.remove(&present);
        }
        self.ticket += 1;
        self.due.insert(key.clone(), (due, self.ticket));
        self.delayed.insert((due, self.ticket), key);
    }

    /// Moves the keys that are due to the ready ones.
    fn release(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn finish(&mut self, key: &Key) {
        self.working.remove(key);
        if self.again.remove(key) {
            self.add(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> WorkQueue<&'static str> {
        WorkQueue::new(Duration::from_secs(1), Duration::from_secs(60))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_comes_again_if_added_meanwhile() {
        let queue = queue();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!((queue.take().await, queue.take().await), ("a", "b"));
        queue.add("a");
        queue.done(&"b");
        queue.done(&"a");
        assert_eq!(queue.take().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_of_two_delays_counts() {
        let queue = queue();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.take().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&"a");
        let more = tokio::time::timeout(Duration::from_secs(100), queue.take()).await;
        assert!(more.is_err(), "the later requests are gone");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_until_a_success() {
        let queue = queue();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.take().await;
            waits.push(start.elapsed().as_secs());
            queue.failed(&"a");
        }
        queue.take().await;
        queue.done(&"a");
        assert_eq!(waits, [0, 1, 2]);
    }
}
