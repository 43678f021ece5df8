//! A sandbox's process within what it may use of the CPU: by its cgroup, or where there is none by being stopped now and
//! then (SIGSTOP, SIGCONT) until time has caught up with what it used.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::Instant;
use wherry_confine::{CPU_UNBOUNDED, Cgroup, cpu_time};

use super::launch::{Pidfd, Process};

/// How often a process is looked at that no cgroup bounds.
const INTERVAL: Duration = Duration::from_millis(20);
/// How much unused time a process may save up.
const BURST: Duration = Duration::from_millis(20);

/// A process that this node has started.
pub(crate) struct Paced {
    process: Pidfd,
    cgroup: Mutex<Option<Cgroup>>,
    /// What it is to be paced to.
    milli: watch::Sender<Option<u32>>,
}

/// What a process was allowed to use until a moment, and has used.
#[derive(Clone, Copy, Debug)]
struct Account {
    at: Instant,
    used: Duration,
    /// Time saved up; the debt where it is negative.
    left_nanos: i128,
}

impl Paced {
    pub(crate) fn new(process: Pidfd, cgroup: Option<Cgroup>) -> Self {
        Self { process, cgroup: Mutex::new(cgroup), milli: watch::Sender::new(None) }
    }

    fn cgroup(&self) -> std::sync::MutexGuard<'_, Option<Cgroup>> {
        self.cgroup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the process to its limit, whenever it has one.
    async fn pace(&self) -> Infallible {
        let mut limit = self.milli.subscribe();
        loop {
            let milli = *limit.borrow_and_update();
            let work = async {
                if let Some(milli) = milli {
                    self.pace_to(milli).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _changed = limit.changed() => {}
                () = work => {}
            }
        }
    }

    /// Resolves when the process has ended.
    async fn pace_to(&self, milli: u32) {
        let Some(used) = cpu_time(self.id()) else { return };
        let mut account = Account { at: Instant::now(), used, left_nanos: nanos(BURST) };
        while let Some(used) = cpu_time(self.id()) {
            match account.debt(Instant::now(), used, milli) {
                None => tokio::time::sleep(INTERVAL).await,
                Some(wait) => {
                    let _goes_on = Stopped::new(&self.process);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// A process that is stopped, and goes on when this is dropped.
struct Stopped<'a>(&'a Pidfd);

impl<'a> Stopped<'a> {
    fn new(process: &'a Pidfd) -> Self {
        process.signal(Signal::STOP);
        Self(process)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

impl Account {
    /// How long the process must wait until it has paid for what it used.
    fn debt(&mut self, now: Instant, used: Duration, milli: u32) -> Option<Duration> {
        let milli = i128::from(milli.max(1));
        let earned = nanos(now.saturating_duration_since(self.at)) * milli / 1000;
        let spent = nanos(used.saturating_sub(self.used));
        let left = (self.left_nanos + earned).min(nanos(BURST)) - spent;
        *self = Self { at: now, used, left_nanos: left };
        let owed = u64::try_from(-left * 1000 / milli).ok().filter(|owed| *owed > 0)?;
        Some(Duration::from_nanos(owed))
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[async_trait]
impl Process for Paced {
    fn id(&self) -> u32 {
        self.process.id()
    }

    fn kill(&self) {
        self.process.kill();
    }

    fn cpu_time(&self) -> Option<Duration> {
        cpu_time(self.id())
    }

    fn limit_cpu(&self, milli: Option<u32>) {
        let millis = milli.map_or(CPU_UNBOUNDED, u64::from);
        let is_bounded = self.cgroup().as_ref().is_some_and(|cgroup| cgroup.bound_cpu(millis));
        self.milli.send_replace(milli.filter(|_| !is_bounded));
    }

    async fn ended(&self) -> String {
        let how = tokio::select! {
            how = self.process.ended() => how,
            never = self.pace() => match never {},
        };
        let cgroup = self.cgroup().take();
        let killed = cgroup.and_then(|cgroup| cgroup.oom_kills()).is_some_and(|kills| kills > 0);
        if killed { format!("{how}, for want of memory") } else { how }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_no_cgroup_bounds_is_stopped_now_and_then() {
        let child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap().id();
        let paced = Paced::new(Pidfd::open(child).unwrap(), None);
        paced.limit_cpu(Some(100));
        let began = Instant::now();
        let uses = async {
            while cpu_time(child).unwrap() < Duration::from_millis(100) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = uses => {}
            how = paced.ended() => panic!("{how}"),
        }
        // A busy machine makes it longer: at least what a tenth of a core takes, less what may be saved up.
        assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        paced.kill();
        assert_eq!(paced.ended().await, "its process was ended by signal 9");
    }

    #[test]
    fn a_debt_is_paid_by_waiting() {
        let start = Instant::now();
        let millis = Duration::from_millis;
        let mut account = Account { at: start, used: millis(500), left_nanos: nanos(BURST) };
        let mut after = |passed: u64, used: u64| account.debt(start + millis(passed), millis(500 + used), 100);
        assert_eq!(after(0, 0), None);
        assert_eq!(after(20, 20), None, "what was saved up is used");
        assert_eq!(after(40, 40), Some(millis(180)), "18 ms too much, at a tenth of a core");
        assert_eq!(after(220, 40), None);
        assert_eq!(after(10_220, 60), None, "an idle time counts only so much");
        assert_eq!(after(10_220, 70), Some(millis(100)));
    }
}
