//! Work that keeps a thread waiting, mostly for the disk: on a thread of its own, or where a simulation wants it.

use std::cell::Cell;
use std::time::Duration;

use tokio::task::JoinHandle;

thread_local! {
    static SIMULATED: Cell<Option<fn() -> Duration>> = const { Cell::new(None) };
}

/// Carries out `work` where it holds up no other task; it is carried out also where nobody waits for it.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match SIMULATED.get() {
        None => tokio::task::spawn_blocking(work),
        Some(lasts) => simulate(lasts(), work),
    }
}

/// From now on, such work of runtimes that this thread drives is done on this thread, after as much of the runtime's time
/// as `lasts` says: real threads would end in an order of their own, and a simulation's every step must follow from its
/// seed.
pub fn simulate_blocking(lasts: fn() -> Duration) {
    SIMULATED.set(Some(lasts));
}

#[expect(clippy::disallowed_methods, reason = "the task's end is its owner's, as that of a blocking one")]
fn simulate<T: Send + 'static>(lasts: Duration, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(async move {
        tokio::time::sleep(lasts).await;
        work()
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn here() -> std::thread::ThreadId {
        std::thread::current().id()
    }

    #[tokio::test]
    async fn it_is_done_elsewhere() {
        assert_ne!(spawn_blocking(here).await.unwrap(), here());
    }

    #[test]
    fn simulated_it_is_done_here_and_takes_its_time() {
        let simulation = std::thread::spawn(|| {
            simulate_blocking(|| Duration::from_secs(3));
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().unwrap().block_on(async {
                let began = Instant::now();
                assert_eq!(spawn_blocking(here).await.unwrap(), here());
                assert_eq!(began.elapsed(), Duration::from_secs(3));
            });
        });
        simulation.join().unwrap();
    }
}
