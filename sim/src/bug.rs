//! Bugs that are planted to see whether the checkers find them. They are in the world around Wherry, in disks and
//! connections, and look from outside as bugs of Wherry's own would.

/// What is wrong with the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// Writes are acknowledged before they are on the disk.
    LyingDisk,
    /// A watch that goes on from a revision leaves out the first event.
    SkippedEvent,
    /// Masters show what they have, without asking whether there is anything newer.
    OldRead,
    /// Nodes take it that their Leases are renewed where they are not told.
    LateFence,
}
