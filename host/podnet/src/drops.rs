//! What of a container's packets was dropped, counted by why.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not what its header says, or no IPv4.
    Malformed,
    /// It is a part of a packet: the device takes the largest whole.
    Fragment,
    /// It does not come from the pod's address.
    Spoofed,
    /// It goes to an address that is nobody's: multicast, broadcast, the machine's own.
    Unroutable,
    /// It is neither TCP, UDP nor an echo request.
    Protocol,
    /// Too much of its kind waits, or is open.
    NoRoom,
    /// The device did not take what was sent to the container.
    Unsent,
}

/// How many reasons there are.
const REASONS: usize = Why::Unsent as usize + 1;

#[derive(Debug, Default)]
pub(crate) struct Drops([AtomicU64; REASONS]);

impl Drops {
    pub(crate) fn count(&self, why: Why) {
        if let Some(count) = self.0.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn of(&self, why: Why) -> u64 {
        self.0.get(why as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
