//! Which images go. Pure. Follows a kubelet's `imageGCManager`; but what was used a moment ago is spared as what came a moment ago is.

use std::time::Duration;

use tokio::time::Instant;
use wherry_runtime::StoredImage;

use crate::storage::Disk;

/// When images go that nobody uses: a kubelet's terms, and its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageGc {
    /// From how full a file system on images are removed from it, in percent; 100: never.
    pub high_threshold: u8,
    /// Down to how full, in percent.
    pub low_threshold: u8,
    /// How long an image must have been there, and unused.
    pub ttl: Duration,
}

/// What is known of an image's use. `None` is before everything: since before this process began, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// When a pod needed it the last time.
    pub last: Option<Instant>,
    /// When it was seen first.
    pub first: Option<Instant>,
}

/// An image of a file system.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The store that it is in, by its number.
    pub store: usize,
    /// What it is.
    pub image: StoredImage,
    /// Its use so far.
    pub used: Use,
    /// Whether a pod needs it now.
    pub in_use: bool,
}

impl Default for ImageGc {
    fn default() -> Self {
        Self { high_threshold: 85, low_threshold: 80, ttl: Duration::from_secs(120) }
    }
}

impl ImageGc {
    /// How many bytes are to be freed on a file system.
    pub fn excess(self, disk: Disk) -> u64 {
        let Disk { free_bytes, all_bytes } = disk;
        let percent_free = (u128::from(free_bytes) * 100).checked_div(all_bytes.into()).unwrap_or(100);
        if self.high_threshold >= 100 || 100_u128.saturating_sub(percent_free) < self.high_threshold.into() {
            return 0;
        }
        let wanted = u128::from(all_bytes) * 100_u128.saturating_sub(self.low_threshold.into()) / 100;
        u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(free_bytes)
    }

    /// Those that may go, the least recently used first.
    pub fn eligible(self, all: Vec<Candidate>, now: Instant) -> Vec<Candidate> {
        let is_old = |at: Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= self.ttl);
        let may_go =
            |one: &Candidate| one.image.is_ours && !one.in_use && is_old(one.used.first) && is_old(one.used.last);
        let mut eligible: Vec<_> = all.into_iter().filter(may_go).collect();
        eligible.sort_by(|one, other| (one.used, &one.image.digest).cmp(&(other.used, &other.image.digest)));
        eligible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_freed_from_the_high_threshold_down_to_the_low_one() {
        let check = |(high_threshold, low_threshold), (free_bytes, all_bytes), expected: u64| {
            let gc = ImageGc { high_threshold, low_threshold, ..ImageGc::default() };
            assert_eq!(gc.excess(Disk { free_bytes, all_bytes }), expected, "{gc:?} {free_bytes}/{all_bytes}");
        };
        check((85, 80), (16, 100), 0);
        check((85, 80), (15, 100), 5);
        check((85, 80), (0, 100), 20);
        check((1, 0), (50, 100), 50);
        check((0, 0), (100, 100), 0);
        check((100, 80), (0, 100), 0);
        // Of 1 TiB.
        check((85, 80), (1 << 37, 1 << 40), (1 << 40) / 5 - (1 << 37));
        // One that says nothing of itself, and one that has no room for files at all, such as /proc.
        check((85, 80), (u64::MAX, u64::MAX), 0);
        check((85, 80), (0, 0), 0);
    }

    #[test]
    fn who_was_used_the_longest_ago_goes_first() {
        let start = Instant::now();
        let at = |seconds: u64| Some(start + Duration::from_secs(seconds));
        let one = |digest: &str, first, last| Candidate {
            store: 0,
            image: StoredImage { digest: digest.to_owned(), is_ours: true, ..StoredImage::default() },
            used: Use { first, last },
            in_use: false,
        };
        let foreign = |mut one: Candidate| {
            one.image.is_ours = false;
            one
        };
        let all = vec![
            one("used-late", None, at(50)),
            one("used-early", at(10), at(20)),
            one("never-used-new", at(5), None),
            one("never-used-old-b", None, None),
            one("never-used-old-a", None, None),
            one("used-just-now", at(10), at(91)),
            one("came-just-now", at(91), None),
            Candidate { in_use: true, ..one("in-use", None, None) },
            foreign(one("of-others", None, None)),
        ];
        let gc = ImageGc { ttl: Duration::from_secs(10), ..ImageGc::default() };
        let eligible = gc.eligible(all, start + Duration::from_secs(100));
        let digests: Vec<_> = eligible.iter().map(|one| one.image.digest.as_str()).collect();
        assert_eq!(digests, ["never-used-old-a", "never-used-old-b", "never-used-new", "used-early", "used-late"]);
    }
}
