//! When usage is measured: each second, and before its time when the file system says that much was written meanwhile.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// How often usage is measured, where measuring is cheap.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// How often the file system is asked what is free, which costs microseconds, where a pod may take only so much.
pub(super) const GLANCE: Duration = Duration::from_millis(50);
/// Usage is measured before its time when so much less is free than there was since the last time.
const GROWTH_BYTES: u64 = 4 << 20;
/// How much longer than a measurement the pause after it is.
const PAUSE_FACTOR: u32 = 50;
/// The disk is almost full when less than one part in so many is free, and less than so much.
const FREE_PARTS: u64 = 20;
const FREE_BYTES: u64 = 1 << 30;

/// What a file system says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// What may still be written.
    pub free_bytes: u64,
    /// Its size.
    pub all_bytes: u64,
}

/// The last measurement.
#[derive(Debug)]
pub(super) struct Cadence {
    ended: Instant,
    cost: Duration,
    /// The most that was free since.
    free_bytes: u64,
}

impl Disk {
    /// Of the file system that holds `path`. One that does not say is taken for one with room.
    pub fn of(path: &Path) -> Self {
        let Ok(facts) = rustix::fs::statvfs(path) else { return Self { free_bytes: u64::MAX, all_bytes: u64::MAX } };
        Self { free_bytes: facts.f_bavail * facts.f_frsize, all_bytes: facts.f_blocks * facts.f_frsize }
    }

    pub(super) fn is_almost_full(self) -> bool {
        self.free_bytes < FREE_BYTES && self.free_bytes < self.all_bytes / FREE_PARTS
    }
}

impl Cadence {
    /// Nothing was measured yet; the first time is an interval from `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { ended: now, cost: Duration::ZERO, free_bytes: 0 }
    }

    /// Whether it is time.
    pub(super) fn is_due(&mut self, disk: Disk, now: Instant) -> bool {
        self.free_bytes = self.free_bytes.max(disk.free_bytes);
        let pause = now.saturating_duration_since(self.ended);
        let has_grown = self.free_bytes - disk.free_bytes >= GROWTH_BYTES;
        pause >= self.cost * PAUSE_FACTOR && (has_grown || pause >= INTERVAL)
    }

    /// Measured, on this disk and in this time.
    pub(super) fn measured(&mut self, disk: Disk, began: Instant, ended: Instant) {
        *self = Self { ended, cost: ended.saturating_duration_since(began), free_bytes: disk.free_bytes };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free_bytes: u64, all_bytes: u64) -> Disk {
        Disk { free_bytes, all_bytes }
    }

    #[test]
    fn a_disk_is_full_when_little_is_left() {
        assert!(!disk(2 << 30, 1 << 40).is_almost_full());
        assert!(disk(1 << 29, 1 << 40).is_almost_full());
        assert!(!disk(1 << 29, 4 << 30).is_almost_full());
        assert!(!Disk::of(Path::new("/no/such/place")).is_almost_full());
    }

    #[test]
    fn what_is_written_fast_is_measured_before_its_time() {
        let (start, free) = (Instant::now(), 1 << 30);
        let after = |millis| start + Duration::from_millis(millis);
        let check = |cost_millis, glances: &[(u64, u64)], expected: bool| {
            let mut cadence = Cadence::new(start);
            cadence.measured(disk(free, 1 << 40), start, after(cost_millis));
            let due = glances.iter().map(|(at, free)| cadence.is_due(disk(*free, 1 << 40), after(cost_millis + at)));
            assert_eq!(due.last(), Some(expected), "{cost_millis} {glances:?}");
        };
        check(0, &[(999, free)], false);
        check(0, &[(1000, free)], true);
        check(0, &[(50, free - GROWTH_BYTES + 1)], false);
        check(0, &[(50, free - GROWTH_BYTES)], true);
        // What one pod removes hides nothing of what another writes after it.
        check(0, &[(50, free + (1 << 29)), (100, free + (1 << 29) - GROWTH_BYTES)], true);
        check(2, &[(99, 0)], false);
        check(2, &[(100, 0)], true);
        check(40, &[(1999, 0)], false);
        check(40, &[(2000, 0)], true);
    }
}
