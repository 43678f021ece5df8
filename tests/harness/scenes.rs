//! Scenes of one cluster played at once: a test that mostly waits leaves the processors to the others.

use std::thread::{Builder, ScopedJoinHandle, scope};

/// A part of a test: its name and what it does. It fails by panicking.
pub type Scene<'a> = (&'static str, &'a (dyn Fn() + Sync));

/// Plays all scenes at the same time, each on a thread that bears its name, and panics with the names of those that did.
#[expect(clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]
pub fn play(scenes: &[Scene<'_>]) {
    let failed: Vec<&str> = scope(|scope| {
        let mut threads: Vec<(&str, ScopedJoinHandle<'_, ()>)> = Vec::new();
        for (name, scene) in scenes {
            let thread = Builder::new().name((*name).to_owned()).spawn_scoped(scope, scene);
            threads.push((name, thread.expect("a thread more")));
        }
        threads.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    if !failed.is_empty() {
        panic!("failed: {}", failed.join(", "));
    }
}
