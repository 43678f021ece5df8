//! Whether a runtime can be used: one that rests on something else of the machine comes and goes with that.

/// Whether a runtime can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// What it rests on is not on this machine: why, a sentence.
    Absent(String),
    /// It can be used: what it rests on, and which release of it.
    Ready(String),
    /// It could be used, and cannot now: why, a sentence.
    Lost(String),
}

impl Availability {
    /// Whether containers can be started.
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Whether it cannot be asked about containers that it may have still.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}
