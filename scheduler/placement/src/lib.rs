//! Which pod goes to which node: `place(&Snapshot, &[Pod]) -> Placements`, a pure function.
//!
//! Owns filters (fit, node name, cordon, selector and affinity, taints), scores (preferred affinity,
//! `PreferNoSchedule`, spread of one owner's pods, least allocated) and the words for what does not fit. Has no
//! preemption, no pod affinity and no topology constraints. No clock, no async, no I/O, no randomness.
//!
//! How the binder uses it: keep one [`Snapshot`] up to date from the informers' events (`set_node`, `remove_node`,
//! `set_pod` for every pod that has a node and [`holds_resources`], `remove_pod`); collect the pods without a node,
//! oldest first, as [`Pod`]s (`Pod::from(&api_pod)`); call [`place`] for the whole batch; post the bindings, and tell
//! `Placements::unplaceable` in the pods' `PodScheduled` conditions and events. `place` assumes its own bindings
//! as it goes, but does not change the snapshot: call `set_pod` for a binding once it was accepted.

mod convert;
mod node;
mod place;
mod pod;
mod reason;
mod score;
mod snapshot;
#[cfg(test)]
mod tests;

pub use convert::holds_resources;
pub use node::{Effect, Node, Taint};
pub use place::{Binding, Placements, Unplaceable, place};
pub use pod::{Pod, Preference, Rules, Term, Toleration};
pub use snapshot::Snapshot;

/// An amount of what nodes have and pods ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// How many pods: 1 for a pod.
    pub pods: i64,
}

impl Resources {
    /// The sum, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            pods: self.pods.saturating_add(other.pods),
        }
    }

    /// The difference, saturating; below zero where more is used than there is.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            pods: self.pods.saturating_sub(other.pods),
        }
    }
}
