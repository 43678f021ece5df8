//! Seeds that every build runs, each in a process of its own; long runs are the binary's.

use std::process::Command;

/// Less time than by default.
const SHORT: &[&str] = &["--troubled", "12", "--sound", "25"];
/// Too little for everything to be as it was asked for at the end.
const BRIEF: &[&str] = &["--troubled", "8", "--sound", "4"];
/// The same, with as many troubles as by default.
const TROUBLED: &[&str] = &["--troubled", "25", "--sound", "4"];
const MASTERS: &[&str] = &["--nodes", "0", "--troubled", "15", "--sound", "8"];

/// What the program says of seeds, and whether it found nothing.
#[expect(clippy::unwrap_used, reason = "a test that cannot run its program fails")]
fn run(scenario: &[&str], from: u64, seeds: u64, more: &[&str]) -> (String, bool) {
    let numbers = [from, seeds].map(|number| number.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wherry-sim"));
    command.args(["--from", &numbers[0], "--seeds", &numbers[1]]).args(scenario).args(more);
    let output = command.output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn is_sound(scenario: &[&str], seeds: u64) {
    let (said, is_sound) = run(scenario, 0, seeds, &[]);
    assert!(is_sound, "{said}");
}

#[test]
fn masters_in_trouble() {
    is_sound(MASTERS, 3);
}

#[test]
fn a_cluster_in_trouble() {
    is_sound(SHORT, 2);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for scenario in [MASTERS, BRIEF] {
        let (first, _) = run(scenario, 7, 1, &[]);
        assert!(first.contains("history "), "{first}");
        assert_eq!(run(scenario, 7, 1, &[]).0, first);
    }
    let [one, other] = [7, 8].map(|seed| run(MASTERS, seed, 1, &[]).0);
    assert_ne!(other.replace("seed 8", "seed 7"), one);
}

/// Whether a planted bug is found within a few seeds, and by the checker whose matter it is.
fn is_found(scenario: &[&str], bug: &str, words: &[&str]) {
    let mut said = (0..10).map(|seed| run(scenario, seed, 1, &["--bug", bug]).0);
    assert!(said.any(|said| words.iter().any(|words| said.contains(words))), "{bug} was not found");
}

#[test]
fn a_disk_that_lies_is_found() {
    is_found(MASTERS, "lying-disk", &["cannot open", "not linearizable", "revisions do not grow"]);
}

#[test]
fn an_old_read_is_found() {
    is_found(MASTERS, "old-read", &["not linearizable"]);
}

#[test]
fn a_fence_that_comes_late_is_found() {
    is_found(TROUBLED, "late-fence", &["when it was given to others"]);
}

#[test]
fn a_skipped_event_is_found() {
    is_found(MASTERS, "skipped-event", &["the watch of client"]);
}
