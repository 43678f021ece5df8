//! From when to when a certificate is valid, and when it is time for the next one.

use std::time::Duration;

use jiff::Timestamp;

/// How far back a certificate's validity reaches at the most, for clocks that differ.
const SKEW_MOST: Duration = Duration::from_hours(1);
/// The part of a certificate's life that its validity reaches back at the most.
const SKEW_PART: u32 = 10;

/// From when to when a certificate is valid, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before this.
    pub from: Timestamp,
    /// Not after this.
    pub until: Timestamp,
}

impl Validity {
    /// Valid for `life` from `now`, and a little before, for clocks that differ.
    pub fn of(now: Timestamp, life: Duration) -> Self {
        let skew = (life / SKEW_PART).min(SKEW_MOST);
        Self { from: now.saturating_sub(skew).unwrap_or(now), until: now.saturating_add(life).unwrap_or(now) }
    }

    /// When it is time for the next certificate: at two thirds of this one's life.
    pub fn renewal(self) -> Timestamp {
        let life = Duration::try_from(self.until.duration_since(self.from)).unwrap_or_default();
        self.until.saturating_sub(life / 3).unwrap_or(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_at_two_thirds() {
        let now: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
        let check = |life: u64, from: &str, until: &str, renewal: &str| {
            let validity = Validity::of(now, Duration::from_secs(life));
            let found = [validity.from, validity.until, validity.renewal()].map(|at| at.to_string());
            assert_eq!(found, [from, until, renewal]);
        };
        check(30, "2026-11-26T23:59:57Z", "2026-11-27T00:00:30Z", "2026-11-27T00:00:19Z");
        check(365 * 86400, "2026-11-26T23:00:00Z", "2027-11-27T00:00:00Z", "2027-07-28T07:40:00Z");
    }
}
