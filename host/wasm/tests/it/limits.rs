//! CPU and places in the pool. Figures are printed: `cargo test -p wherry-wasm --test it limits -- --nocapture`.

use std::time::Duration;

use tokio::time::Instant;

use crate::node::{Guest, Pod, SMALL_COMMANDS_MAX, Started, run, until};

const INTERVAL: Duration = Duration::from_secs(2);

fn used(started: &Started) -> Duration {
    Duration::from_nanos(started.container.usage().cpu_nanos)
}

#[test]
fn a_limited_loop_takes_its_part_beside_a_free_one() {
    run(async {
        let free = Pod::new().start(Guest::new("misbehave", &["spin"])).await;
        let limited = Pod::new().start(Guest::new("misbehave", &["spin"]).cpu(100)).await;
        until(|| used(&free) > Duration::ZERO && used(&limited) > Duration::from_millis(10)).await;
        let (began, before) = (Instant::now(), used(&limited));
        tokio::time::sleep(INTERVAL).await;
        let (passed, took) = (began.elapsed(), used(&limited) - before);
        let part = took.as_secs_f64() / passed.as_secs_f64();
        println!("cpu: 100m took {part:.4} cores over {passed:?}; the free loop {:?} in all", used(&free));
        // One slice more at the end of the interval than at its beginning is chance.
        assert!(part < 0.13, "{part} cores");
        assert!(part > 0.02, "{part} cores: it is not starved either");
        free.container.kill();
        limited.container.kill();
    });
}

#[test]
fn one_call_of_the_host_carries_only_so_much() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("/data/{}", "x".repeat(8 << 20));
        let component = Guest::new("misbehave", &["forbidden-file", &path]).mount(directory.path(), "/data", true);
        let (exit, _) = component.outcome().await;
        assert_eq!(exit.code, 134);
        assert!(exit.message.contains("hostcall"), "{}", exit.message);
        let (exit, log) = Guest::new("batch", &["echo", &path]).outcome().await;
        assert_eq!((exit.code, log.len()), (0, path.len() + 1), "a write of WASI 0.1 is one call");
    });
}

#[test]
fn garbage_collected_modules_run() {
    run(async {
        let (exit, log) = Guest::new("garbage", &[]).outcome().await;
        assert_eq!(exit.code, 0, "{log}");
    });
}

#[test]
fn a_full_node_says_so_and_has_room_again() {
    run(async {
        let pod = Pod::on_the_small_node();
        let waiting = || Guest { stdin: true, ..Guest::new("misbehave", &["stdin"]) };
        let mut started = Vec::new();
        let refused = loop {
            match pod.try_start(waiting()).await {
                Ok(one) => started.push(one),
                Err(error) => break error,
            }
        };
        assert_eq!(started.len(), SMALL_COMMANDS_MAX as usize);
        assert_eq!(refused.reason, "RunContainerError");
        assert!(refused.message.contains("no place is left"), "{}", refused.message);
        for one in &started {
            one.container.stop();
            assert_eq!(one.container.exited().await.code, 0, "the end of stdin is the end of it");
        }
        let again = pod.start(Guest::new("misbehave", &["sleep", "0"])).await;
        assert_eq!(again.container.exited().await.code, 0);
    });
}
