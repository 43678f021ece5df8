//! The guest examples' own tests, on the host. They are a workspace of their own, which `cargo test` here does not reach.

use std::path::Path;
use std::process::Command;

#[test]
fn the_guest_examples_pass_their_own_tests() {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples"));
    command.args(["test", "--locked", "--quiet"]).env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_guest_is_found_by_name() {
    assert!(wherry_guests::guest("batch").is_some_and(|module| module.starts_with(b"\0asm")));
    assert!(wherry_guests::guest("no-such-guest").is_none());
}
