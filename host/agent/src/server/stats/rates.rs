//! From how much CPU time was used so far to how much of the CPU is used: two measurements, and the time between them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Two measurements that are closer say little.
const SPAN_MIN: Duration = Duration::from_millis(500);
/// What has told nothing new for so long uses nothing.
const SILENCE: Duration = Duration::from_secs(3);

/// Whose CPU time it is: a pod's uid and a container's name; both empty for the machine.
pub type Subject = (String, String);

/// What is known of all.
#[derive(Default)]
pub struct Rates(HashMap<Subject, Known>);

struct Known {
    cpu_nanos: u64,
    at: Instant,
    /// Thousand-millionths of a core.
    rate: Option<u64>,
    /// Heard of since others were forgotten.
    is_present: bool,
}

impl Rates {
    /// Hears that so much was used at that time; how much of the CPU is used, in thousand-millionths of a core, once that can
    /// be told.
    pub fn hear(&mut self, subject: Subject, cpu_nanos: u64, at: Instant, now: Instant) -> Option<u64> {
        let fresh = Known { cpu_nanos, at, rate: None, is_present: true };
        let known = self.0.entry(subject).or_insert(fresh);
        known.is_present = true;
        let span = at.saturating_duration_since(known.at);
        if cpu_nanos < known.cpu_nanos {
            // It was started anew.
            *known = Known { cpu_nanos, at, rate: None, is_present: true };
        } else if span >= SPAN_MIN {
            let used = u128::from(cpu_nanos - known.cpu_nanos) * 1_000_000_000 / span.as_nanos().max(1);
            *known = Known { cpu_nanos, at, rate: Some(u64::try_from(used).unwrap_or(u64::MAX)), is_present: true };
        } else if now.saturating_duration_since(known.at) >= SILENCE {
            known.rate = Some(0);
        }
        known.rate
    }

    /// Forgets those that were not heard of since the last time.
    pub fn forget_others(&mut self) {
        self.0.retain(|_, known| std::mem::take(&mut known.is_present));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_the_time_between() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        let mut hear = |cpu_millis: u64, at_millis: u64, now_millis: u64| {
            let time = |millis| start + Duration::from_millis(millis);
            let rate = rates.hear(Subject::default(), cpu_millis * 1_000_000, time(at_millis), time(now_millis));
            rate.map(|rate| rate / 1_000_000)
        };
        assert_eq!(hear(100, 0, 0), None);
        assert_eq!(hear(100, 400, 400), None, "too close");
        assert_eq!(hear(600, 2000, 2000), Some(250));
        assert_eq!(hear(700, 2100, 2100), Some(250), "as before");
        assert_eq!(hear(600, 2000, 4000), Some(250), "nothing new was told yet");
        assert_eq!(hear(600, 2000, 5500), Some(0), "nothing was used");
        assert_eq!(hear(1600, 6000, 6000), Some(250));
        assert_eq!(hear(5, 7000, 7000), None, "started anew");
        rates.forget_others();
        rates.forget_others();
        assert!(rates.0.is_empty());
    }
}
