//! Commands: how they end, by themselves or otherwise.

use tokio::time::Instant;
use wherry_runtime::ExitReason;

use crate::node::{Guest, Pod, run, until};

#[test]
fn exit_codes_are_kept() {
    run(async {
        for (image, args, code, reason) in [
            ("batch", &["exit", "0"][..], 0, ExitReason::Completed),
            ("batch", &["exit", "7"], 7, ExitReason::Error),
            ("batch", &["cat", "/nowhere"], 2, ExitReason::Error),
            ("misbehave", &["sleep", "0"], 0, ExitReason::Completed),
            // WASI 0.2 knows success and failure only.
            ("misbehave", &["exit", "7"], 1, ExitReason::Error),
        ] {
            let (exit, log) = Guest::new(image, args).outcome().await;
            assert_eq!((exit.code, exit.reason), (code, reason), "{image} {args:?}: {log}");
            assert_eq!(exit.message, "", "{image} {args:?}");
        }
    });
}

#[test]
fn arguments_and_environment_arrive() {
    run(async {
        let (exit, log) = Guest::new("batch", &["env", "COLOUR"]).env("COLOUR", "red").outcome().await;
        assert_eq!((exit.code, log.as_str()), (0, "red\n"));
        let (_, log) = Guest::new("batch", &["echo", "a", "b c"]).outcome().await;
        assert_eq!(log, "a b c\n");
    });
}

#[test]
fn a_trap_says_what_and_where() {
    run(async {
        let (exit, log) = Guest::new("misbehave", &["trap"]).outcome().await;
        assert_eq!((exit.code, exit.reason), (134, ExitReason::Error));
        assert!(exit.message.starts_with("wasm trap: wasm `unreachable` instruction executed\n"), "{}", exit.message);
        assert!(exit.message.contains("backtrace"), "{}", exit.message);
        assert!(log.contains("unreachable"), "the log holds it too: {log}");
    });
}

#[test]
fn too_much_memory_is_out_of_memory() {
    run(async {
        let (exit, _) = Guest::new("misbehave", &["hog"]).memory(32 << 20).outcome().await;
        assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled));
        assert!(exit.message.contains("33554432"), "{}", exit.message);
    });
}

#[test]
fn an_endless_loop_ends_when_killed() {
    run(async {
        let pod = Pod::new();
        let spinning = pod.start(Guest::new("misbehave", &["spin"])).await;
        until(|| spinning.container.usage().cpu_nanos > 10_000_000).await;
        let killed = Instant::now();
        spinning.container.kill();
        let exit = spinning.container.exited().await;
        spinning.gone().await;
        println!("an endless loop was gone {:?} after its kill", killed.elapsed());
        assert_eq!((exit.code, exit.reason), (137, ExitReason::Error));
    });
}

#[test]
fn a_stop_closes_the_listeners_of_its_container_alone() {
    run(async {
        let pod = Pod::new();
        let first = pod.start(Guest::new("echo-tcp", &[]).env("PORT", "7000")).await;
        let second = pod.start(Guest::new("echo-tcp", &[]).env("PORT", "7001")).await;
        first.says("listening").await;
        second.says("listening").await;
        first.container.stop();
        assert_eq!(first.container.exited().await.code, 0, "{}", first.log.text());
        assert!(first.log.text().contains("asked to stop"));
        assert!(!second.log.text().contains("asked to stop"));
        second.container.kill();
        assert_eq!(second.container.exited().await.code, 137);
    });
}
