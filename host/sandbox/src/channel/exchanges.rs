//! The exchanges that are open over a channel, by their numbers.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::AbortHandle;

use super::Violation;
use super::exchange::{End, Exchange};

/// How many exchanges are open at once. A sandbox has instances for fewer; the others wait in it.
const EXCHANGES_MAX: usize = 2048;

#[derive(Default)]
pub(super) struct Exchanges {
    pub(super) open: HashMap<u64, Open>,
    /// Exchanges below this have been.
    pub(super) next: u64,
    pub(super) is_closed: bool,
}

pub(super) struct Open {
    pub(super) exchange: Arc<Exchange>,
    pub(super) sends: bool,
    pub(super) receives: bool,
    /// Ends the task that sends.
    pub(super) sender: Option<AbortHandle>,
}

impl Exchanges {
    pub(super) fn add(&mut self, number: u64, receives: bool) -> Option<Arc<Exchange>> {
        if self.is_closed || self.open.len() >= EXCHANGES_MAX || self.open.contains_key(&number) {
            return None;
        }
        let exchange = Arc::new(Exchange::new());
        let open = Open { exchange: Arc::clone(&exchange), sends: true, receives, sender: None };
        self.open.insert(number, open);
        self.next = self.next.max(number.saturating_add(1));
        Some(exchange)
    }

    /// An open exchange; `None` if it has been.
    pub(super) fn find(&mut self, number: u64) -> Result<Option<&mut Open>, Violation> {
        if number >= self.next {
            return Err(Violation("it speaks of an exchange that never was"));
        }
        Ok(self.open.get_mut(&number))
    }

    pub(super) fn tidy(&mut self, number: u64) {
        if self.open.get(&number).is_some_and(|open| !open.sends && !open.receives) {
            self.open.remove(&number);
        }
    }
}

impl Open {
    pub(super) fn cut(self) {
        self.exchange.ended(End::Cut);
        self.sender.iter().for_each(AbortHandle::abort);
    }
}
